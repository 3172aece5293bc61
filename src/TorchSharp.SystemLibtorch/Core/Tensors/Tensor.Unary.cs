using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>One number in, one number out: powers, logarithms, rounding, signs.</summary>
    public partial class Tensor
    {
        public Tensor abs() => Aten.abs.Call(this);

        public Tensor abs_() => Aten.abs_.CallInPlace(this);

        public Tensor exp() => Aten.exp.Call(this);

        public Tensor floor() => Aten.floor.Call(this);

        public Tensor log() => Aten.log.Call(this);

        public Tensor neg() => Aten.neg.Call(this);

        public Tensor negative() => Aten.neg.Call(this);

        public Tensor reciprocal() => Aten.reciprocal.Call(this);

        public Tensor reciprocal_() => Aten.reciprocal_.CallInPlace(this);

        public Tensor rsqrt() => Aten.rsqrt.Call(this);

        public Tensor sign() => Aten.sign.Call(this);

        public Tensor sqrt() => Aten.sqrt.Call(this);

        public Tensor sqrt_() => Aten.sqrt_.CallInPlace(this);

        public Tensor trunc() => Aten.trunc.Call(this);

        public Tensor fix() => Aten.trunc.Call(this);

        public Tensor square() => Aten.pow_Tensor_Scalar.Call(this, 2);

        public Tensor round(long decimals = 0) => Aten.round_decimals.Call(this, decimals);

        public Tensor nan_to_num(double nan = 0, double? posinf = null, double? neginf = null) =>
            Aten.nan_to_num.Call(this, nan, posinf, neginf);
    }
}

internal static partial class Aten
{
    public static readonly Operator abs = new("aten::abs");
    public static readonly Operator abs_ = new("aten::abs_");
    public static readonly Operator exp = new("aten::exp");
    public static readonly Operator floor = new("aten::floor");
    public static readonly Operator log = new("aten::log");
    public static readonly Operator nan_to_num = new("aten::nan_to_num");
    public static readonly Operator neg = new("aten::neg");
    public static readonly Operator pow_Tensor_Scalar = new("aten::pow", "Tensor_Scalar");
    public static readonly Operator reciprocal = new("aten::reciprocal");
    public static readonly Operator reciprocal_ = new("aten::reciprocal_");
    public static readonly Operator round_decimals = new("aten::round", "decimals");
    public static readonly Operator rsqrt = new("aten::rsqrt");
    public static readonly Operator sign = new("aten::sign");
    public static readonly Operator sqrt = new("aten::sqrt");
    public static readonly Operator sqrt_ = new("aten::sqrt_");
    public static readonly Operator trunc = new("aten::trunc");
}
