using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.PublicTests;

/// <summary>y = weight * x / sqrt(mean x^2 + eps), as language models have it; TorchSharp 0.107 has none.</summary>
public sealed class RmsNorm : nn.Module<Tensor, Tensor>
{
    private readonly Parameter weight;

    public RmsNorm(long size)
        : base(nameof(RmsNorm))
    {
        weight = nn.Parameter(linspace(0.5, 1.5, size, dtype: ScalarType.Float64));
        RegisterComponents();
    }

    public static Tensor Normalize(Tensor input) => input * (input.square().mean([-1L], keepdim: true) + 1e-6).rsqrt();

    public override Tensor forward(Tensor input) => Normalize(input) * weight;
}

/// <summary>The same layer by another name, for which nobody registers a rule.</summary>
public sealed class PlainRmsNorm : nn.Module<Tensor, Tensor>
{
    private readonly Parameter weight;

    public PlainRmsNorm(long size)
        : base(nameof(PlainRmsNorm))
    {
        weight = nn.Parameter(linspace(0.5, 1.5, size, dtype: ScalarType.Float64));
        RegisterComponents();
    }

    public override Tensor forward(Tensor input) => RmsNorm.Normalize(input) * weight;
}
