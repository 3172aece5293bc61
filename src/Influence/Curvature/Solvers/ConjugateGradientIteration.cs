using System.Globalization;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Conjugate gradients on several right-hand sides at once: every product serves all that have not converged, each with
/// step lengths of its own. Hestenes, Stiefel 1952; with a preconditioner, Golub, Van Loan, "Matrix Computations", 11.5.
/// </summary>
/// <remarks>
/// The recursion's residual drifts from the true one by rounding. When it says converged, the residual is computed anew
/// from x; what has not converged starts again from there, for as long as that still halves it.
/// </remarks>
internal sealed class ConjugateGradientIteration(
    Func<Tensor, Tensor> multiply,
    Func<Tensor, Tensor>? precondition,
    double tolerance,
    int maximumIterations
)
{
    private readonly Func<Tensor, Tensor> _precondition = precondition ?? (r => r.clone());
    private int _iterations;

    /// <summary>Solves A x = b for each row.</summary>
    /// <param name="b"><c>[K, P]</c>.</param>
    /// <returns>x <c>[K, P]</c> in the current scope, the iterations of the slowest row, each row's relative residual.</returns>
    public (Tensor X, int Iterations, double[] Residuals) Solve(Tensor b)
    {
        using var scope = NewDisposeScope();
        var lengths = Rows.Norms(b);
        var x = zeros_like(b); // [K, P]
        var residual = b; // [K, P]
        var relative = Rows.Ratio(lengths, lengths);
        for (var best = double.PositiveInfinity; ; best = relative.Max())
        {
            var open = Positions(relative, r => !(r <= tolerance));
            if (open.Length == 0 || _iterations >= maximumIterations || !(relative.Max() < best / 2))
            {
                return (x.MoveToOuterDisposeScope(), _iterations, relative);
            }

            Run(x, Rows.Pick(residual, open), open, lengths);
            residual = b - multiply(x);
            relative = Rows.Ratio(Rows.Norms(residual), lengths);
        }
    }

    /// <summary>Iterates from the residuals of the open rows until the recursion has converged, and adds to x.</summary>
    private void Run(Tensor x, Tensor start, int[] open, double[] lengths)
    {
        using var scope = NewDisposeScope();
        var r = start; // [A, P], A open rows
        var z = _precondition(r);
        var p = z.clone();
        var rz = Rows.Dot(r, z);
        while (open.Length > 0 && _iterations < maximumIterations)
        {
            using var step = NewDisposeScope();
            var last = (r, p);
            var ap = multiply(p); // [A, P]
            _iterations++;
            var curvature = Rows.Dot(p, ap);
            CheckPositive(curvature, p);
            var alpha = Rows.Column(Rows.Ratio(rz, curvature), p); // [A, 1]
            x.index_add_(0, Rows.Index(open, x), alpha * p, Kept(1));
            r = r - (alpha * ap);
            var relative = Rows.Ratio(Rows.Norms(r), [.. open.Select(k => lengths[k])]);
            var left = Positions(relative, e => e > tolerance);
            if (left.Length < open.Length)
            {
                (r, p) = (Rows.Pick(r, left), Rows.Pick(p, left));
                (rz, open) = ([.. left.Select(k => rz[k])], [.. left.Select(k => open[k])]);
            }

            if (open.Length > 0)
            {
                z = _precondition(r);
                var next = Rows.Dot(r, z);
                p = z + (Rows.Column(Rows.Ratio(next, rz), p) * p);
                rz = next;
            }

            // The last ones go now: kept to the end, every iteration would take two vectors more.
            last.r.Dispose();
            last.p.Dispose();
            r.MoveToOuterDisposeScope();
            p.MoveToOuterDisposeScope();
        }
    }

    private void CheckPositive(double[] curvature, Tensor p)
    {
        var squares = Rows.Dot(p, p);
        var rayleigh = Rows.Ratio(curvature, squares).Where((_, k) => squares[k] > 0).DefaultIfEmpty(1).Min();
        if (!(rayleigh > 0))
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"Conjugate gradients need a positive definite matrix, but along a search direction of iteration {_iterations} "
                        + $"the damped curvature is {rayleigh:G3}. Ask for CurvatureMatrix.GaussNewton, which is never negative, or raise "
                        + $"the damping by more than {Math.Abs(rayleigh):G3}."
                )
            );
        }
    }

    private static int[] Positions(double[] values, Func<double, bool> which) =>
        [.. Enumerable.Range(0, values.Length).Where(k => which(values[k]))];
}
