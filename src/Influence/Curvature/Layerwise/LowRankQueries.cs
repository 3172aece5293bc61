using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Preconditioned query gradients as few outer products, Y ~ U V with the rank as small as a stated bound allows: randomised
/// range finding with one power iteration (Halko, Martinsson, Tropp 2011, algorithm 4.4).
/// </summary>
/// <remarks>
/// With E = Y - U V in the eigenbasis, |E . G_z| is at most sqrt(sum of E^2 / W) sqrt(s(z,z)), so the rank is raised until the first
/// root is at most the tolerance times sqrt(s(q,q)), for every query of the batch. The bound is computed, not estimated.
/// </remarks>
internal static class LowRankQueries
{
    private const long FirstRank = 8;

    /// <summary>The factors, U <c>[Q, O, R]</c> and V <c>[Q, R, I]</c>; null where R (O + I) would exceed half of O I.</summary>
    /// <param name="spectrum">Y = W * (Q_G' G Q_A), <c>[Q, O, I]</c>.</param>
    /// <param name="weights">W, <c>[O, I]</c>, positive.</param>
    /// <param name="tolerance">The relative error.</param>
    public static (Tensor U, Tensor V)? Of(Tensor spectrum, Tensor weights, double tolerance)
    {
        using var scope = NewDisposeScope();
        var (o, i) = (spectrum.shape[1], spectrum.shape[2]);
        var inverse = weights.reciprocal();
        var allowed = (spectrum.Squared() * inverse).sum(1, 2) * Kept(tolerance * tolerance); // [Q]
        using var generator = new Generator(1);
        for (var rank = FirstRank; rank * (o + i) <= o * i / 2; rank *= 2)
        {
            using var step = NewDisposeScope();
            var test = randn([i, rank], dtype: spectrum.dtype, generator: generator).to(spectrum.device);
            var range = linalg.qr(einsum("qoi,ir->qor", spectrum, test)).Q; // [Q, O, R]
            range = linalg.qr(spectrum.bmm(spectrum.transpose(1, 2).bmm(range))).Q;
            var v = range.transpose(1, 2).bmm(spectrum); // [Q, R, I]
            var error = ((spectrum - range.bmm(v)).Squared() * inverse).sum(1, 2); // [Q]
            if (error.le(allowed).all().item<bool>())
            {
                return (range.MoveToOuterDisposeScope().MoveToOuterDisposeScope(), v.MoveToOuterDisposeScope().MoveToOuterDisposeScope());
            }
        }

        return null;
    }
}
