using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Other functions of two tensors, and fused forms of sum and product.</summary>
    public partial class Tensor
    {
        public Tensor floor_divide(Tensor other) => Aten.floor_divide.Call(this, other);

        public Tensor floor_divide(Scalar other) => Aten.floor_divide_Scalar.Call(this, other);

        public Tensor pow(Tensor exponent) => Aten.pow_Tensor_Tensor.Call(this, exponent);

        public Tensor pow(Scalar exponent) => Aten.pow_Tensor_Scalar.Call(this, exponent);

        public Tensor pow_(Tensor exponent) => Aten.pow__Tensor.CallInPlace(this, exponent);

        public Tensor pow_(Scalar exponent) => Aten.pow__Scalar.CallInPlace(this, exponent);

        public Tensor maximum(Tensor other) => Aten.maximum.Call(this, other);

        public Tensor minimum(Tensor other) => Aten.minimum.Call(this, other);

        public Tensor addcmul_(Tensor tensor1, Tensor tensor2, Scalar value) =>
            Aten.addcmul_.CallInPlace(this, tensor1, tensor2, value);

        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2) =>
            Aten.addcdiv_.CallInPlace(this, tensor1, tensor2, 1);

        public Tensor addcdiv_(Tensor tensor1, Tensor tensor2, Scalar value) =>
            Aten.addcdiv_.CallInPlace(this, tensor1, tensor2, value);

        public Tensor clamp_(Scalar? min = null, Scalar? max = null) => Aten.clamp_.CallInPlace(this, min, max);

        public Tensor clamp_(Tensor? min = null, Tensor? max = null) =>
            Aten.clamp__Tensor.CallInPlace(this, min, max);

        public Tensor clamp_max(Scalar max) => Aten.clamp_max.Call(this, max);

        public Tensor clamp_min(Scalar min) => Aten.clamp_min.Call(this, min);

        public Tensor bitwise_and(Tensor other) => Aten.bitwise_and_Tensor.Call(this, other);

        public Tensor bitwise_or(Tensor other) => Aten.bitwise_or_Tensor.Call(this, other);

        public Tensor bitwise_xor(Tensor other) => Aten.bitwise_xor_Tensor.Call(this, other);

        public Tensor bitwise_not() => Aten.bitwise_not.Call(this);
    }
}

internal static partial class Aten
{
    public static readonly Operator addcdiv_ = new("aten::addcdiv_");
    public static readonly Operator addcmul_ = new("aten::addcmul_");
    public static readonly Operator bitwise_and_Tensor = new("aten::bitwise_and", "Tensor");
    public static readonly Operator bitwise_not = new("aten::bitwise_not");
    public static readonly Operator bitwise_or_Tensor = new("aten::bitwise_or", "Tensor");
    public static readonly Operator bitwise_xor_Tensor = new("aten::bitwise_xor", "Tensor");
    public static readonly Operator clamp_ = new("aten::clamp_");
    public static readonly Operator clamp__Tensor = new("aten::clamp_", "Tensor");
    public static readonly Operator clamp_max = new("aten::clamp_max");
    public static readonly Operator clamp_min = new("aten::clamp_min");
    public static readonly Operator floor_divide = new("aten::floor_divide");
    public static readonly Operator floor_divide_Scalar = new("aten::floor_divide", "Scalar");
    public static readonly Operator maximum = new("aten::maximum");
    public static readonly Operator minimum = new("aten::minimum");
    public static readonly Operator pow_Tensor_Tensor = new("aten::pow", "Tensor_Tensor");
    public static readonly Operator pow__Scalar = new("aten::pow_", "Scalar");
    public static readonly Operator pow__Tensor = new("aten::pow_", "Tensor");
}
