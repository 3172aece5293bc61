using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Trigonometric and hyperbolic functions.</summary>
    public partial class Tensor
    {
        public Tensor cos() => Aten.cos.Call(this);

        public Tensor sin() => Aten.sin.Call(this);

        public Tensor tanh() => Aten.tanh.Call(this);
    }
}

internal static partial class Aten
{
    public static readonly Operator cos = new("aten::cos");
    public static readonly Operator sin = new("aten::sin");
    public static readonly Operator tanh = new("aten::tanh");
}
