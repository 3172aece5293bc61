using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Other functions of two tensors, and fused forms of sum and product.</summary>
    public partial class Tensor
    {
        public Tensor floor_divide(Tensor other) => Aten.floor_divide.Call(this, other);

        public Tensor floor_divide(Scalar other) => Aten.floor_divide_Scalar.Call(this, other);

        public Tensor floor_divide_(Tensor other) => Aten.floor_divide__Tensor.CallInPlace(this, other);

        public Tensor floor_divide_(Scalar other) => Aten.floor_divide__Scalar.CallInPlace(this, other);

        public Tensor pow(Tensor exponent) => Aten.pow_Tensor_Tensor.Call(this, exponent);

        public Tensor pow(Scalar exponent) => Aten.pow_Tensor_Scalar.Call(this, exponent);

        public Tensor pow_(Tensor exponent) => Aten.pow__Tensor.CallInPlace(this, exponent);

        public Tensor pow_(Scalar exponent) => Aten.pow__Scalar.CallInPlace(this, exponent);

        public Tensor float_power(Tensor target) => Aten.float_power_Tensor_Tensor.Call(this, target);

        public Tensor xlogy(Tensor y) => Aten.xlogy_Tensor.Call(this, y);

        public Tensor xlogy(Scalar y) => Aten.xlogy_Scalar_Other.Call(this, y);

        public Tensor xlogy_(Tensor y) => Aten.xlogy__Tensor.CallInPlace(this, y);

        public Tensor xlogy_(Scalar y) => Aten.xlogy__Scalar_Other.CallInPlace(this, y);

        public Tensor logaddexp(Tensor other) => Aten.logaddexp.Call(this, other);

        public Tensor logaddexp2(Tensor other) => Aten.logaddexp2.Call(this, other);

        public Tensor copysign(Tensor other) => Aten.copysign_Tensor.Call(this, other);

        public Tensor maximum(Tensor other) => Aten.maximum.Call(this, other);

        public Tensor minimum(Tensor other) => Aten.minimum.Call(this, other);

        public Tensor fmax(Tensor other) => Aten.fmax.Call(this, other);

        public Tensor fmin(Tensor other) => Aten.fmin.Call(this, other);

        public Tensor lerp(Tensor end, Tensor weight) => Aten.lerp_Tensor.Call(this, end, weight);

        public Tensor lerp_(Tensor end, Tensor weight) => Aten.lerp__Tensor.CallInPlace(this, end, weight);

        public Tensor addcmul(Tensor tensor1, Tensor tensor2, Scalar value) =>
            Aten.addcmul.Call(this, tensor1, tensor2, value);

        public Tensor addcmul_(Tensor tensor1, Tensor tensor2, Scalar value) =>
            Aten.addcmul_.CallInPlace(this, tensor1, tensor2, value);

        public Tensor addcdiv(Tensor tensor1, Tensor tensor2) => Aten.addcdiv.Call(this, tensor1, tensor2, 1);

        public Tensor addcdiv(Tensor tensor1, Tensor tensor2, Scalar value) =>
            Aten.addcdiv.Call(this, tensor1, tensor2, value);

        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2) =>
            Aten.addcdiv_.CallInPlace(this, tensor1, tensor2, 1);

        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2, Scalar value) =>
            Aten.addcdiv_.CallInPlace(this, tensor1, tensor2, value);

        public Tensor clamp(Scalar? min = null, Scalar? max = null) => Aten.clamp.Call(this, min, max);

        public Tensor clamp(Tensor? min = null, Tensor? max = null) => Aten.clamp_Tensor.Call(this, min, max);

        public Tensor clamp_(Scalar? min = null, Scalar? max = null) => Aten.clamp_.CallInPlace(this, min, max);

        public Tensor clamp_(Tensor? min = null, Tensor? max = null) =>
            Aten.clamp__Tensor.CallInPlace(this, min, max);

        public Tensor clamp_max(Scalar max) => Aten.clamp_max.Call(this, max);

        public Tensor clamp_max_(Scalar max) => Aten.clamp_max_.CallInPlace(this, max);

        public Tensor clamp_min(Scalar min) => Aten.clamp_min.Call(this, min);

        public Tensor clamp_min_(Scalar min) => Aten.clamp_min_.CallInPlace(this, min);

        public Tensor clip(Scalar? min = null, Scalar? max = null) => clamp(min, max);

        public Tensor heaviside(Tensor other) => Aten.heaviside.Call(this, other);

        public Tensor dist(Tensor other, float p = 2f) => Aten.dist.Call(this, other, p);

        public Tensor bitwise_and(Tensor other) => Aten.bitwise_and_Tensor.Call(this, other);

        public Tensor bitwise_and_(Tensor other) => Aten.bitwise_and__Tensor.CallInPlace(this, other);

        public Tensor bitwise_or(Tensor other) => Aten.bitwise_or_Tensor.Call(this, other);

        public Tensor bitwise_or_(Tensor other) => Aten.bitwise_or__Tensor.CallInPlace(this, other);

        public Tensor bitwise_xor(Tensor other) => Aten.bitwise_xor_Tensor.Call(this, other);

        public Tensor bitwise_xor_(Tensor other) => Aten.bitwise_xor__Tensor.CallInPlace(this, other);

        public Tensor bitwise_left_shift(Tensor other) => Aten.bitwise_left_shift_Tensor.Call(this, other);

        public Tensor bitwise_right_shift(Tensor other) => Aten.bitwise_right_shift_Tensor.Call(this, other);

        public Tensor bitwise_not() => Aten.bitwise_not.Call(this);

        public Tensor bitwise_not_() => Aten.bitwise_not_.CallInPlace(this);
    }
}

internal static partial class Aten
{
    public static readonly Operator addcdiv = new("aten::addcdiv");
    public static readonly Operator addcdiv_ = new("aten::addcdiv_");
    public static readonly Operator addcmul = new("aten::addcmul");
    public static readonly Operator addcmul_ = new("aten::addcmul_");
    public static readonly Operator bitwise_and_Tensor = new("aten::bitwise_and", "Tensor");
    public static readonly Operator bitwise_and__Tensor = new("aten::bitwise_and_", "Tensor");
    public static readonly Operator bitwise_left_shift_Tensor = new("aten::bitwise_left_shift", "Tensor");
    public static readonly Operator bitwise_not = new("aten::bitwise_not");
    public static readonly Operator bitwise_not_ = new("aten::bitwise_not_");
    public static readonly Operator bitwise_or_Tensor = new("aten::bitwise_or", "Tensor");
    public static readonly Operator bitwise_or__Tensor = new("aten::bitwise_or_", "Tensor");
    public static readonly Operator bitwise_right_shift_Tensor = new("aten::bitwise_right_shift", "Tensor");
    public static readonly Operator bitwise_xor_Tensor = new("aten::bitwise_xor", "Tensor");
    public static readonly Operator bitwise_xor__Tensor = new("aten::bitwise_xor_", "Tensor");
    public static readonly Operator clamp = new("aten::clamp");
    public static readonly Operator clamp_ = new("aten::clamp_");
    public static readonly Operator clamp_Tensor = new("aten::clamp", "Tensor");
    public static readonly Operator clamp__Tensor = new("aten::clamp_", "Tensor");
    public static readonly Operator clamp_max = new("aten::clamp_max");
    public static readonly Operator clamp_max_ = new("aten::clamp_max_");
    public static readonly Operator clamp_min = new("aten::clamp_min");
    public static readonly Operator clamp_min_ = new("aten::clamp_min_");
    public static readonly Operator copysign_Tensor = new("aten::copysign", "Tensor");
    public static readonly Operator dist = new("aten::dist");
    public static readonly Operator float_power_Tensor_Tensor = new("aten::float_power", "Tensor_Tensor");
    public static readonly Operator floor_divide = new("aten::floor_divide");
    public static readonly Operator floor_divide_Scalar = new("aten::floor_divide", "Scalar");
    public static readonly Operator floor_divide__Scalar = new("aten::floor_divide_", "Scalar");
    public static readonly Operator floor_divide__Tensor = new("aten::floor_divide_", "Tensor");
    public static readonly Operator fmax = new("aten::fmax");
    public static readonly Operator fmin = new("aten::fmin");
    public static readonly Operator heaviside = new("aten::heaviside");
    public static readonly Operator lerp_Tensor = new("aten::lerp", "Tensor");
    public static readonly Operator lerp__Tensor = new("aten::lerp_", "Tensor");
    public static readonly Operator logaddexp = new("aten::logaddexp");
    public static readonly Operator logaddexp2 = new("aten::logaddexp2");
    public static readonly Operator maximum = new("aten::maximum");
    public static readonly Operator minimum = new("aten::minimum");
    public static readonly Operator pow_Tensor_Tensor = new("aten::pow", "Tensor_Tensor");
    public static readonly Operator pow__Scalar = new("aten::pow_", "Scalar");
    public static readonly Operator pow__Tensor = new("aten::pow_", "Tensor");
    public static readonly Operator xlogy_Scalar_Other = new("aten::xlogy", "Scalar_Other");
    public static readonly Operator xlogy_Tensor = new("aten::xlogy", "Tensor");
    public static readonly Operator xlogy__Scalar_Other = new("aten::xlogy_", "Scalar_Other");
    public static readonly Operator xlogy__Tensor = new("aten::xlogy_", "Tensor");
}
