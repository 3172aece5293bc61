using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Sums, products and quotients of two tensors, or of a tensor and a number.</summary>
    public partial class Tensor
    {
        public Tensor add(Tensor target) => Aten.add_Tensor.Call(this, target, 1);

        public Tensor add(Tensor target, Scalar alpha) => Aten.add_Tensor.Call(this, target, alpha);

        public Tensor add(Scalar scalar) => Aten.add_Scalar.Call(this, scalar, 1);

        public Tensor add(Scalar scalar, Scalar alpha) => Aten.add_Scalar.Call(this, scalar, alpha);

        public Tensor add_(Tensor target) => Aten.add__Tensor.CallInPlace(this, target, 1);

        public Tensor add_(Tensor target, Scalar alpha) => Aten.add__Tensor.CallInPlace(this, target, alpha);

        public Tensor add_(Scalar scalar) => Aten.add__Scalar.CallInPlace(this, scalar, 1);

        public Tensor add_(Scalar scalar, Scalar alpha) => Aten.add__Scalar.CallInPlace(this, scalar, alpha);

        public Tensor sub(Tensor target) => Aten.sub_Tensor.Call(this, target, 1);

        public Tensor sub(Scalar target) => Aten.sub_Scalar.Call(this, target, 1);

        public Tensor sub_(Tensor target) => Aten.sub__Tensor.CallInPlace(this, target, 1);

        public Tensor sub_(Scalar target) => Aten.sub__Scalar.CallInPlace(this, target, 1);

        public Tensor mul(Tensor target) => Aten.mul_Tensor.Call(this, target);

        public Tensor mul(Scalar target) => Aten.mul_Scalar.Call(this, target);

        public Tensor mul_(Tensor target) => Aten.mul__Tensor.CallInPlace(this, target);

        public Tensor mul_(Scalar target) => Aten.mul__Scalar.CallInPlace(this, target);

        public Tensor div(Tensor target, RoundingMode rounding_mode = RoundingMode.None) =>
            Aten.div_Tensor_mode.Call(this, target, Name(rounding_mode));

        public Tensor div(Scalar target, RoundingMode rounding_mode = RoundingMode.None) =>
            Aten.div_Scalar_mode.Call(this, target, Name(rounding_mode));

        public Tensor div_(Tensor target, RoundingMode rounding_mode = RoundingMode.None) =>
            Aten.div__Tensor_mode.CallInPlace(this, target, Name(rounding_mode));

        public Tensor div_(Scalar target, RoundingMode rounding_mode = RoundingMode.None) =>
            Aten.div__Scalar_mode.CallInPlace(this, target, Name(rounding_mode));

        public Tensor remainder(Tensor target) => Aten.remainder_Tensor.Call(this, target);

        public Tensor remainder(Scalar scalar) => Aten.remainder_Scalar.Call(this, scalar);
    }
}

internal static partial class Aten
{
    public static readonly Operator add_Scalar = new("aten::add", "Scalar");
    public static readonly Operator add_Tensor = new("aten::add", "Tensor");
    public static readonly Operator add__Scalar = new("aten::add_", "Scalar");
    public static readonly Operator add__Tensor = new("aten::add_", "Tensor");
    public static readonly Operator div_Scalar_mode = new("aten::div", "Scalar_mode");
    public static readonly Operator div_Tensor_mode = new("aten::div", "Tensor_mode");
    public static readonly Operator div__Scalar_mode = new("aten::div_", "Scalar_mode");
    public static readonly Operator div__Tensor_mode = new("aten::div_", "Tensor_mode");
    public static readonly Operator mul_Scalar = new("aten::mul", "Scalar");
    public static readonly Operator mul_Tensor = new("aten::mul", "Tensor");
    public static readonly Operator mul__Scalar = new("aten::mul_", "Scalar");
    public static readonly Operator mul__Tensor = new("aten::mul_", "Tensor");
    public static readonly Operator remainder_Scalar = new("aten::remainder", "Scalar");
    public static readonly Operator remainder_Tensor = new("aten::remainder", "Tensor");
    public static readonly Operator sub_Scalar = new("aten::sub", "Scalar");
    public static readonly Operator sub_Tensor = new("aten::sub", "Tensor");
    public static readonly Operator sub__Scalar = new("aten::sub_", "Scalar");
    public static readonly Operator sub__Tensor = new("aten::sub_", "Tensor");
}
