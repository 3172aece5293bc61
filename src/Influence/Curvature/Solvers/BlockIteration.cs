using System.Globalization;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Conjugate gradients on a block of right-hand sides, all of which search in the directions of all: O'Leary, "The Block Conjugate Gradient
/// Algorithm and Related Methods", 1980, in the form without breakdown of Ji, Li, "A Breakdown-Free Block Conjugate Gradient Method", 2017,
/// which makes the directions orthonormal and drops those that the others span.
/// </summary>
/// <param name="multiply">A times rows <c>[K, P]</c>.</param>
/// <param name="precondition">M times rows <c>[K, P]</c>.</param>
/// <param name="tolerance">Stops where |b - A x| is at most this times |b| for every row.</param>
/// <param name="maximumIterations">Stops after so many.</param>
internal sealed class BlockIteration(
    Func<Tensor, Tensor> multiply,
    Func<Tensor, Tensor> precondition,
    double tolerance,
    int maximumIterations
)
{
    /// <summary>Solves A x = b for each row.</summary>
    /// <param name="b"><c>[K, P]</c>.</param>
    /// <returns>x <c>[K, P]</c> in the current scope, the iterations, each row's relative residual, computed anew from x.</returns>
    public (Tensor X, int Iterations, double[] Residuals) Solve(Tensor b)
    {
        using var scope = NewDisposeScope();
        var lengths = Rows.Norms(b);
        int[] open = [.. Enumerable.Range(0, lengths.Length).Where(k => lengths[k] > 0)];
        var x = zeros_like(b); // [K, P]
        if (open.Length == 0)
        {
            return (x.MoveToOuterDisposeScope(), 0, lengths);
        }

        // Of length one: queries with small gradients have a say in the directions, too.
        var column = Rows.Column([.. open.Select(k => lengths[k])], b);
        var right = Rows.Pick(b, open) / column; // [A, P]
        var (solved, iterations) = Run(right);
        var residuals = new double[lengths.Length];
        foreach (var (k, norm) in open.Zip(Rows.Norms(right - multiply(solved))))
        {
            residuals[k] = norm;
        }

        x.index_copy_(0, Rows.Index(open, x), solved * column);
        return (x.MoveToOuterDisposeScope(), iterations, residuals);
    }

    private (Tensor X, int Iterations) Run(Tensor right)
    {
        using var scope = NewDisposeScope();
        var x = zeros_like(right); // [A, P]
        var r = right.clone(); // [A, P]
        var p = Orthonormal(precondition(r)); // [s, P]
        for (var iteration = 1; ; iteration++)
        {
            using var step = NewDisposeScope();
            var ap = multiply(p); // [s, P]
            var inner = Small(p, ap); // [s, s]
            inner = (inner + inner.t()) * Kept(0.5);
            CheckPositive(inner, iteration);
            var alpha = Back(linalg.solve(inner, Small(p, r)), r); // [s, A]
            x.add_(alpha.t().mm(p));
            r.sub_(alpha.t().mm(ap));
            if (iteration >= maximumIterations || Rows.Norms(r).All(norm => norm <= tolerance))
            {
                return (x.MoveToOuterDisposeScope().MoveToOuterDisposeScope(), iteration);
            }

            var z = precondition(r); // [A, P]
            var beta = Back(linalg.solve(inner, Small(ap, z)), r); // [s, A]
            var next = Orthonormal(z - beta.t().mm(p));
            if (next.shape[0] == 0)
            {
                return (x.MoveToOuterDisposeScope().MoveToOuterDisposeScope(), iteration);
            }

            p.Dispose();
            p = next.MoveToOuterDisposeScope();
        }
    }

    /// <summary>Orthonormal rows that span the rows of z, without those that the others span up to rounding.</summary>
    private static Tensor Orthonormal(Tensor z)
    {
        using var scope = NewDisposeScope();
        var norms = Rows.Norms(z);
        int[] some = [.. Enumerable.Range(0, norms.Length).Where(k => norms[k] > 0)];
        if (some.Length == 0)
        {
            return zeros([0, z.shape[1]], z.dtype, z.device).MoveToOuterDisposeScope();
        }

        var unit = Rows.Pick(z, some) / Rows.Column([.. some.Select(k => norms[k])], z);
        var (values, vectors) = linalg.eigh(Small(unit, unit)); // ascending
        var numbers = values.data<double>().ToArray();
        var least = numbers[^1] * (z.dtype == ScalarType.Float64 ? 1e-11 : 1e-5);
        int[] kept = [.. Enumerable.Range(0, numbers.Length).Where(k => numbers[k] > least)];
        var turn = Rows.Pick(vectors.t(), kept) * tensor(kept.Select(k => 1 / Math.Sqrt(numbers[k])).ToArray()).unsqueeze(1); // [s, A]
        return Back(turn, z).mm(unit).MoveToOuterDisposeScope();
    }

    private static void CheckPositive(Tensor inner, int iteration)
    {
        var least = linalg.eigvalsh(inner)[0].item<double>();
        if (!(least > 0))
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"Block conjugate gradients need a positive definite matrix, but along a search direction of iteration {iteration} the "
                        + $"damped curvature is {least:G3}. Raise the damping."
                )
            );
        }
    }

    /// <summary>The products of all rows with all rows, in float64 on the CPU.</summary>
    private static Tensor Small(Tensor a, Tensor b) => a.mm(b.t()).to(ScalarType.Float64).cpu();

    private static Tensor Back(Tensor small, Tensor like) => small.to(like.dtype).to(like.device);
}
