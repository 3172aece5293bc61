using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>The largest eigenvalue in magnitude, from below, by thirty products at most.</summary>
internal static class PowerIteration
{
    private const int Products = 30;
    private const double Settled = 1e-3;

    /// <param name="multiply">A matrix with real eigenvalues, times rows <c>[1, P]</c>.</param>
    /// <param name="layout">The length, dtype and device of a row.</param>
    /// <param name="seed">Of the first row.</param>
    public static double Of(Func<Tensor, Tensor> multiply, ParameterVector layout, long seed)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var v = SeededNumbers.Normal(seed, 1, layout.Length, layout.Dtype, layout.Device); // [1, P]
        v.div_(v.norm());
        var value = 0.0;
        for (var i = 0; i < Products; i++)
        {
            using var step = NewDisposeScope();
            var product = multiply(v); // [1, P]
            var next = Rows.Norms(product)[0];
            if (next == 0 || Math.Abs(next - value) <= Settled * next)
            {
                return next;
            }

            value = next;
            v.copy_(product / Kept(next));
        }

        return value;
    }
}
