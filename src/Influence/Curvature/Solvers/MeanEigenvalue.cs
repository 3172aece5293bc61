using System.Globalization;
using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The trace over P of a curvature that is known by its products only, for dampings that are relative to it: Hutchinson's
/// estimate, the mean of v' H v over sixteen vectors of random signs.
/// </summary>
/// <remarks>
/// Unbiased; a third off at worst (one eigenvalue that is all), a few percent usually. Norms of gradients with sampled labels would
/// take one pass, but their mean is the Fisher's trace: where a loss is a mean over positions, or weighted, that is another number.
/// </remarks>
internal static class MeanEigenvalue
{
    private const int Probes = 16;

    public static double Of(CurvatureProduct product, Examples train, long seed, CancellationToken token)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var layout = product.Layout;
        var signs = SeededNumbers.Signs(seed, Probes, layout.Length, layout.Dtype, layout.Device); // [K, P]
        return Rows.Dot(signs, product.Over(train, signs, token)).Average() / layout.Length;
    }

    /// <summary>The absolute damping where the mean eigenvalue is an estimate; refuses a relative one where that is not positive.</summary>
    public static double Damp(Damping damping, double mean, string matrix) =>
        !damping.IsRelative || mean > 0
            ? damping.For(mean)
            : throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The mean eigenvalue of the {matrix} is about {mean:G3}, so a damping cannot be relative to it. Write "
                        + $"Damping.Absolute(...), or ask for CurvatureMatrix.GaussNewton."
                )
            );
}
