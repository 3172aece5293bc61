using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary><c>x Phi(x)</c> with the normal distribution function, exact or by its tanh approximation.</summary>
public sealed class GELU : ParameterLessModule<Tensor, Tensor>
{
    public enum Approximate
    {
        none,
        tanh,
    }

    internal GELU(bool inplace, Approximate approximate) : base(nameof(GELU))
    {
        this.inplace = inplace;
        this.approximate = approximate;
    }

    public bool inplace { get; set; }

    public Approximate approximate { get; set; }

    public override Tensor forward(Tensor tensor) => nn.functional.gelu(tensor, approximate, inplace);
}
