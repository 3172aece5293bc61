using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>One number in, one number out: powers, logarithms, rounding, signs.</summary>
    public partial class Tensor
    {
        public Tensor abs() => Aten.abs.Call(this);

        public Tensor abs_() => Aten.abs_.CallInPlace(this);

        public Tensor absolute() => Aten.abs.Call(this);

        public Tensor absolute_() => Aten.abs_.CallInPlace(this);

        public Tensor ceil() => Aten.ceil.Call(this);

        public Tensor ceil_() => Aten.ceil_.CallInPlace(this);

        public Tensor deg2rad() => Aten.deg2rad.Call(this);

        public Tensor deg2rad_() => Aten.deg2rad_.CallInPlace(this);

        public Tensor digamma() => Aten.digamma.Call(this);

        public Tensor digamma_() => Aten.digamma_.CallInPlace(this);

        public Tensor erf() => Aten.erf.Call(this);

        public Tensor erf_() => Aten.erf_.CallInPlace(this);

        public Tensor erfc() => Aten.erfc.Call(this);

        public Tensor erfc_() => Aten.erfc_.CallInPlace(this);

        public Tensor erfinv() => Aten.erfinv.Call(this);

        public Tensor erfinv_() => Aten.erfinv_.CallInPlace(this);

        public Tensor exp() => Aten.exp.Call(this);

        public Tensor exp_() => Aten.exp_.CallInPlace(this);

        public Tensor exp2() => Aten.exp2.Call(this);

        public Tensor exp2_() => Aten.exp2_.CallInPlace(this);

        public Tensor expm1() => Aten.expm1.Call(this);

        public Tensor expm1_() => Aten.expm1_.CallInPlace(this);

        public Tensor floor() => Aten.floor.Call(this);

        public Tensor floor_() => Aten.floor_.CallInPlace(this);

        public Tensor frac() => Aten.frac.Call(this);

        public Tensor frac_() => Aten.frac_.CallInPlace(this);

        public Tensor lgamma() => Aten.lgamma.Call(this);

        public Tensor lgamma_() => Aten.lgamma_.CallInPlace(this);

        public Tensor log() => Aten.log.Call(this);

        public Tensor log_() => Aten.log_.CallInPlace(this);

        public Tensor log10() => Aten.log10.Call(this);

        public Tensor log10_() => Aten.log10_.CallInPlace(this);

        public Tensor log1p() => Aten.log1p.Call(this);

        public Tensor log1p_() => Aten.log1p_.CallInPlace(this);

        public Tensor log2() => Aten.log2.Call(this);

        public Tensor log2_() => Aten.log2_.CallInPlace(this);

        public Tensor neg() => Aten.neg.Call(this);

        public Tensor neg_() => Aten.neg_.CallInPlace(this);

        public Tensor negative() => Aten.neg.Call(this);

        public Tensor positive() => Aten.positive.Call(this);

        public Tensor rad2deg() => Aten.rad2deg.Call(this);

        public Tensor rad2deg_() => Aten.rad2deg_.CallInPlace(this);

        public Tensor reciprocal() => Aten.reciprocal.Call(this);

        public Tensor reciprocal_() => Aten.reciprocal_.CallInPlace(this);

        public Tensor rsqrt() => Aten.rsqrt.Call(this);

        public Tensor rsqrt_() => Aten.rsqrt_.CallInPlace(this);

        public Tensor sgn() => Aten.sgn.Call(this);

        public Tensor sgn_() => Aten.sgn_.CallInPlace(this);

        public Tensor sign() => Aten.sign.Call(this);

        public Tensor sign_() => Aten.sign_.CallInPlace(this);

        public Tensor sqrt() => Aten.sqrt.Call(this);

        public Tensor sqrt_() => Aten.sqrt_.CallInPlace(this);

        public Tensor trunc() => Aten.trunc.Call(this);

        public Tensor trunc_() => Aten.trunc_.CallInPlace(this);

        public Tensor fix() => Aten.trunc.Call(this);

        public Tensor fix_() => Aten.trunc_.CallInPlace(this);

        public Tensor square() => Aten.pow_Tensor_Scalar.Call(this, 2);

        public Tensor round(long decimals = 0) => Aten.round_decimals.Call(this, decimals);

        public Tensor round_(long decimals = 0) => Aten.round__decimals.CallInPlace(this, decimals);

        public Tensor signbit() => Aten.signbit.Call(this);

        public Tensor nan_to_num(double nan = 0, double? posinf = null, double? neginf = null) =>
            Aten.nan_to_num.Call(this, nan, posinf, neginf);

        public Tensor nan_to_num_(double nan = 0, double? posinf = null, double? neginf = null) =>
            Aten.nan_to_num_.CallInPlace(this, nan, posinf, neginf);
    }
}

internal static partial class Aten
{
    public static readonly Operator abs = new("aten::abs");
    public static readonly Operator abs_ = new("aten::abs_");
    public static readonly Operator ceil = new("aten::ceil");
    public static readonly Operator ceil_ = new("aten::ceil_");
    public static readonly Operator deg2rad = new("aten::deg2rad");
    public static readonly Operator deg2rad_ = new("aten::deg2rad_");
    public static readonly Operator digamma = new("aten::digamma");
    public static readonly Operator digamma_ = new("aten::digamma_");
    public static readonly Operator erf = new("aten::erf");
    public static readonly Operator erf_ = new("aten::erf_");
    public static readonly Operator erfc = new("aten::erfc");
    public static readonly Operator erfc_ = new("aten::erfc_");
    public static readonly Operator erfinv = new("aten::erfinv");
    public static readonly Operator erfinv_ = new("aten::erfinv_");
    public static readonly Operator exp = new("aten::exp");
    public static readonly Operator exp2 = new("aten::exp2");
    public static readonly Operator exp2_ = new("aten::exp2_");
    public static readonly Operator exp_ = new("aten::exp_");
    public static readonly Operator expm1 = new("aten::expm1");
    public static readonly Operator expm1_ = new("aten::expm1_");
    public static readonly Operator floor = new("aten::floor");
    public static readonly Operator floor_ = new("aten::floor_");
    public static readonly Operator frac = new("aten::frac");
    public static readonly Operator frac_ = new("aten::frac_");
    public static readonly Operator lgamma = new("aten::lgamma");
    public static readonly Operator lgamma_ = new("aten::lgamma_");
    public static readonly Operator log = new("aten::log");
    public static readonly Operator log10 = new("aten::log10");
    public static readonly Operator log10_ = new("aten::log10_");
    public static readonly Operator log1p = new("aten::log1p");
    public static readonly Operator log1p_ = new("aten::log1p_");
    public static readonly Operator log2 = new("aten::log2");
    public static readonly Operator log2_ = new("aten::log2_");
    public static readonly Operator log_ = new("aten::log_");
    public static readonly Operator nan_to_num = new("aten::nan_to_num");
    public static readonly Operator nan_to_num_ = new("aten::nan_to_num_");
    public static readonly Operator neg = new("aten::neg");
    public static readonly Operator neg_ = new("aten::neg_");
    public static readonly Operator positive = new("aten::positive");
    public static readonly Operator pow_Tensor_Scalar = new("aten::pow", "Tensor_Scalar");
    public static readonly Operator rad2deg = new("aten::rad2deg");
    public static readonly Operator rad2deg_ = new("aten::rad2deg_");
    public static readonly Operator reciprocal = new("aten::reciprocal");
    public static readonly Operator reciprocal_ = new("aten::reciprocal_");
    public static readonly Operator round__decimals = new("aten::round_", "decimals");
    public static readonly Operator round_decimals = new("aten::round", "decimals");
    public static readonly Operator rsqrt = new("aten::rsqrt");
    public static readonly Operator rsqrt_ = new("aten::rsqrt_");
    public static readonly Operator sgn = new("aten::sgn");
    public static readonly Operator sgn_ = new("aten::sgn_");
    public static readonly Operator sign = new("aten::sign");
    public static readonly Operator sign_ = new("aten::sign_");
    public static readonly Operator signbit = new("aten::signbit");
    public static readonly Operator sqrt = new("aten::sqrt");
    public static readonly Operator sqrt_ = new("aten::sqrt_");
    public static readonly Operator trunc = new("aten::trunc");
    public static readonly Operator trunc_ = new("aten::trunc_");
}
