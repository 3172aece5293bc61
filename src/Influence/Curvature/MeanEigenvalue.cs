using System.Globalization;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>The trace over P of a curvature that is known by its products only, for dampings that are relative to it.</summary>
internal static class MeanEigenvalue
{
    private const int Probes = 16;

    /// <summary>
    /// Gauss-Newton of a plain likelihood: the mean squared norm of gradients with labels drawn from the model, whose
    /// expectation is the trace; two passes. Else Hutchinson's estimate, the mean of v' H v over sixteen vectors of random signs.
    /// </summary>
    public static double Of(CurvatureProduct product, GradientSession session, Examples train, long seed, CancellationToken token)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var trace = product.IsFisher(train, token)
            ? SampledNorms(session, train, seed, token)
            : Hutchinson(product, train, seed, token);
        return trace / product.Layout.Length;
    }

    /// <summary>The absolute damping where the mean eigenvalue is an estimate; refuses a relative one where that is not positive.</summary>
    public static double Damp(Damping damping, double mean, string matrix) => !damping.IsRelative || mean > 0
        ? damping.For(mean)
        : throw new InfluenceException(string.Create(
            CultureInfo.InvariantCulture,
            $"The mean eigenvalue of the {matrix} is about {mean:G3}, so a damping cannot be relative to it. Write Damping.Absolute(...), or ask for CurvatureMatrix.GaussNewton."));

    private static double SampledNorms(GradientSession session, Examples train, long seed, CancellationToken token)
    {
        session.Losses.Seed = seed;
        var sum = 0.0;
        foreach (var examples in train.Batches())
        {
            token.ThrowIfCancellationRequested();
            using var batch = session.Capture(examples, LossKind.Sampled);
            sum += batch.SquaredNorms().to_type(ScalarType.Float64).sum().item<double>();
        }

        return sum / train.Count;
    }

    private static double Hutchinson(CurvatureProduct product, Examples train, long seed, CancellationToken token)
    {
        var layout = product.Layout;
        var signs = SeededNumbers.Signs(seed, Probes, layout.Length, layout.Dtype, layout.Device); // [K, P]
        var products = product.Over(train, signs, token);                               // [K, P]
        return (signs * products).sum(ScalarType.Float64).item<double>() / Probes;
    }
}
