using TorchSharp.Modules;
using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Modules;

/// <summary>A user's module as the documentation of TorchSharp teaches it: components are fields.</summary>
internal sealed class TwoLayers : nn.Module<Tensor, Tensor>
{
    public readonly Linear first = nn.Linear(3, 4);
    public readonly Sequential rest = nn.Sequential(("act", nn.Tanh()), ("out", nn.Linear(4, 2, hasBias: false)));
    public Parameter scale = nn.Parameter(ones(1));
    public Tensor offset = zeros(2);

    public TwoLayers() : base(nameof(TwoLayers)) => RegisterComponents();

    public override Tensor forward(Tensor input)
    {
        using var hidden = first.call(input);
        using var output = rest.call(hidden);
        using var scaled = output.mul(scale);
        return scaled.add(offset);
    }
}

internal static class Values
{
    public static float[] Floats(this Tensor tensor)
    {
        using var detached = tensor.detach().to(ScalarType.Float32).contiguous().cpu();
        return detached.data<float>().ToArray();
    }

    public static void Equal(double[] expected, Tensor actual, double tolerance = 1e-6)
    {
        var found = actual.Floats();
        Assert.Equal(expected.Length, found.Length);
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.True(
                Math.Abs(expected[i] - found[i]) <= tolerance * Math.Max(1, Math.Abs(expected[i])),
                $"Element {i}: expected {expected[i]}, found {found[i]}.");
        }
    }

    public static Tensor Row(params float[] values) => tensor(values);
}
