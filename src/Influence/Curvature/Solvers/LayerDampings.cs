using Influence.Gradients;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The damping of every weight for a solver around a layer-wise fit: a relative one is relative to the mean eigenvalue that the fit has of
/// each layer, so that both solve for the same. One over all layers would be far too little for the layers that curve the loss most.
/// </summary>
internal static class LayerDampings
{
    /// <summary>Of every weight, <c>[P]</c>, which the caller owns, and the mean of every block for the metadata.</summary>
    /// <param name="session">An open session.</param>
    /// <param name="inner">The fit; where it is not layer by layer the mean eigenvalue is that of the whole matrix.</param>
    /// <param name="damping">The damping of the system.</param>
    /// <param name="mean">The mean eigenvalue of the whole matrix, called where it is needed.</param>
    /// <exception cref="InfluenceException">Some weights have none.</exception>
    public static (Tensor Each, IReadOnlyList<(string Block, double Damping)> Named) Of(
        GradientSession session,
        Preconditioner inner,
        Damping damping,
        Func<double> mean
    )
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var means = (inner as LayerwisePreconditioner)?.MeanEigenvalues.ToDictionary(m => m.Parameters, m => m.MeanEigenvalue);
        var blocks = new double[session.Parts.Count];
        if (damping.IsRelative && damping.Value > 0)
        {
            var whole = means is null ? mean() : 0;
            blocks = [.. session.BlockNames.Select(name => damping.Value * (means?.GetValueOrDefault(name) ?? whole))];
        }
        else if (!damping.IsRelative)
        {
            Array.Fill(blocks, damping.Value);
        }

        // A block that the fit has no curvature of is damped as the least damped one: nothing may be singular.
        var least = blocks.Where(d => d > 0).DefaultIfEmpty(0).Min();
        blocks = [.. blocks.Select(d => d > 0 ? d : least)];
        var each = cat(
            [
                .. session.Parts.SelectMany(
                    (block, k) =>
                        block.Select(part =>
                        {
                            var own = full([part.Count], Kept(blocks[k]), ScalarType.Float64);
                            return damping.Decay is { } decay ? own.add_(decay.Of(part)) : own;
                        })
                ),
            ],
            0
        ); // [P]
        var at = 0L;
        List<(string, double)> named = [];
        foreach (var (name, block) in session.BlockNames.Zip(session.Parts))
        {
            var count = block.Sum(p => p.Count);
            named.Add((name, each.narrow(0, at, count).mean().item<double>()));
            at += count;
        }

        return each.min().item<double>() > 0 || !damping.IsRelative
            ? (each.to(session.Dtype).to(session.Device).DetachFromDisposeScope(), named)
            : throw new InfluenceException(
                "Some weights have no damping, and the Gauss-Newton matrix of fewer examples than weights is singular there. Write "
                    + "Damping.RelativeToMeanEigenvalue(0.1), or Damping.OfOptimizer(checkpoint, 0.1)."
            );
    }
}
