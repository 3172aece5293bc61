using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Trigonometric and hyperbolic functions.</summary>
    public partial class Tensor
    {
        public Tensor acos() => Aten.acos.Call(this);

        public Tensor acos_() => Aten.acos_.CallInPlace(this);

        public Tensor acosh() => Aten.acosh.Call(this);

        public Tensor acosh_() => Aten.acosh_.CallInPlace(this);

        public Tensor asin() => Aten.asin.Call(this);

        public Tensor asin_() => Aten.asin_.CallInPlace(this);

        public Tensor asinh() => Aten.asinh.Call(this);

        public Tensor asinh_() => Aten.asinh_.CallInPlace(this);

        public Tensor atan() => Aten.atan.Call(this);

        public Tensor atan_() => Aten.atan_.CallInPlace(this);

        public Tensor atanh() => Aten.atanh.Call(this);

        public Tensor atanh_() => Aten.atanh_.CallInPlace(this);

        public Tensor cos() => Aten.cos.Call(this);

        public Tensor cos_() => Aten.cos_.CallInPlace(this);

        public Tensor cosh() => Aten.cosh.Call(this);

        public Tensor cosh_() => Aten.cosh_.CallInPlace(this);

        public Tensor sin() => Aten.sin.Call(this);

        public Tensor sin_() => Aten.sin_.CallInPlace(this);

        public Tensor sinc() => Aten.sinc.Call(this);

        public Tensor sinc_() => Aten.sinc_.CallInPlace(this);

        public Tensor sinh() => Aten.sinh.Call(this);

        public Tensor sinh_() => Aten.sinh_.CallInPlace(this);

        public Tensor tan() => Aten.tan.Call(this);

        public Tensor tan_() => Aten.tan_.CallInPlace(this);

        public Tensor tanh() => Aten.tanh.Call(this);

        public Tensor tanh_() => Aten.tanh_.CallInPlace(this);

        public Tensor atan2(Tensor other) => Aten.atan2.Call(this, other);

        public Tensor atan2_(Tensor other) => Aten.atan2_.CallInPlace(this, other);

        public Tensor hypot(Tensor other) => Aten.hypot.Call(this, other);
    }
}

internal static partial class Aten
{
    public static readonly Operator acos = new("aten::acos");
    public static readonly Operator acos_ = new("aten::acos_");
    public static readonly Operator acosh = new("aten::acosh");
    public static readonly Operator acosh_ = new("aten::acosh_");
    public static readonly Operator asin = new("aten::asin");
    public static readonly Operator asin_ = new("aten::asin_");
    public static readonly Operator asinh = new("aten::asinh");
    public static readonly Operator asinh_ = new("aten::asinh_");
    public static readonly Operator atan = new("aten::atan");
    public static readonly Operator atan2 = new("aten::atan2");
    public static readonly Operator atan2_ = new("aten::atan2_");
    public static readonly Operator atan_ = new("aten::atan_");
    public static readonly Operator atanh = new("aten::atanh");
    public static readonly Operator atanh_ = new("aten::atanh_");
    public static readonly Operator cos = new("aten::cos");
    public static readonly Operator cos_ = new("aten::cos_");
    public static readonly Operator cosh = new("aten::cosh");
    public static readonly Operator cosh_ = new("aten::cosh_");
    public static readonly Operator hypot = new("aten::hypot");
    public static readonly Operator sin = new("aten::sin");
    public static readonly Operator sin_ = new("aten::sin_");
    public static readonly Operator sinc = new("aten::sinc");
    public static readonly Operator sinc_ = new("aten::sinc_");
    public static readonly Operator sinh = new("aten::sinh");
    public static readonly Operator sinh_ = new("aten::sinh_");
    public static readonly Operator tan = new("aten::tan");
    public static readonly Operator tan_ = new("aten::tan_");
    public static readonly Operator tanh = new("aten::tanh");
    public static readonly Operator tanh_ = new("aten::tanh_");
}
