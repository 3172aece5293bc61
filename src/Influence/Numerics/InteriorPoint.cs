using MathNet.Numerics.LinearAlgebra;

namespace Influence.Numerics;

/// <summary>
/// A primal-dual interior-point method for small convex programs: minimise c'x + gamma sum w ln w + alpha |B w| subject to
/// a'x = b, G x >= g, x > 0, where w are the first variables of x. The start need not satisfy the constraints.
/// </summary>
/// <remarks>
/// <para>Slacks s = G x - g >= 0 with multipliers z >= 0. Each step is Newton's on grad f - G'z - nu a = 0, a'x = b, G x - g = s,
/// s z = sigma mu, shortened until everything stays positive and the residuals fall. Reference: Boyd and Vandenberghe, Convex
/// Optimization (2004), section 11.7.</para>
/// <para>A norm has no gradient at 0, where answers often lie. It is min over t >= 0 of (|B w|^2 / t + t) / 2, with t the last
/// variable, and Newton's method is applied to t y = B w with y a variable of its own rather than to y = B w / t, whose
/// linearisation is useless near 0. Reference: Chan, Golub and Mulet, A Nonlinear Primal-Dual Method for Total
/// Variation-Based Image Restoration (1999). So with the entropy's gradient ln w: v is a variable, and exp(v) = w.</para>
/// </remarks>
internal sealed class InteriorPoint
{
    private const int MaximumIterations = 300;
    private const double Tolerance = 1e-9;
    private const double ToBoundary = 0.99;

    // Residuals need only fall below the largest of so many steps: near the norm's kink every full step raises some of them.
    private const int Memory = 6;

    /// <summary>c.</summary>
    public required Vector<double> Cost { get; init; }

    /// <summary>gamma; the entropy is over the first <c>Weights</c> variables.</summary>
    public double Gamma { get; init; }

    /// <summary>The number of w.</summary>
    public required int Weights { get; init; }

    /// <summary>a.</summary>
    public required Vector<double> Equality { get; init; }

    /// <summary>b.</summary>
    public required double EqualityValue { get; init; }

    /// <summary>G.</summary>
    public required Matrix<double> Rows { get; init; }

    /// <summary>g.</summary>
    public required Vector<double> Floors { get; init; }

    /// <summary>alpha and B, or null where there is no norm. With a norm the last variable is t, and G has the row t >= 0.</summary>
    public (double Alpha, Matrix<double> B)? Norm { get; init; }

    /// <summary>The point where the steps end; <c>NormDual</c> is y, empty without a norm.</summary>
    internal sealed record Solution(Vector<double> X, Vector<double> Multipliers, double[] NormDual, int Iterations);

    public Solution Solve(Vector<double> start)
    {
        var slack = (Rows * start) - Floors;
        slack.MapInplace(s => Math.Max(s, 1e-2));
        var w = start.SubVector(0, Weights);
        var y = Norm is { } norm ? norm.B * w / start[^1] : null;
        var at = new Iterate(start, slack, slack.Map(s => 0.1 / s), 0, w.Map(Math.Log), y);
        var (sigma, iteration) = (0.2, 0);
        var recent = new Queue<double>();
        for (; iteration < MaximumIterations; iteration++)
        {
            var mu = at.Slack.DotProduct(at.Multipliers) / at.Slack.Count;
            var residual = Residuals(at, 0);
            if (
                residual.Dual.AbsoluteMaximum() < Tolerance
                && Math.Abs(residual.Equality) < Tolerance
                && residual.Primal.AbsoluteMaximum() < Tolerance
                && residual.Norming.AbsoluteMaximum() < Tolerance
                && residual.Logarithm.AbsoluteMaximum() < Tolerance
                && mu < Tolerance
            )
            {
                break;
            }

            // Below this the barrier only feeds rounding errors.
            var target = Math.Max(sigma * mu, Tolerance / 10);
            recent.Enqueue(Residuals(at, target).Norm);
            if (recent.Count > Memory)
            {
                recent.Dequeue();
            }

            if (Direction(at, target) is not { } direction || Advance(at, direction, target, recent.Max()) is not var (next, length))
            {
                break;
            }

            (at, sigma) = (
                next,
                length > 0.9
                    ? next.Lag(Gamma) > 10 * mu
                        ? 0.4
                        : 0.1
                    : 0.5
            );
        }

        return new(at.X, at.Multipliers, at.Y?.ToArray() ?? [], iteration);
    }

    private Iterate? Direction(Iterate at, double target)
    {
        var r = Residuals(at, target);
        var weights = at.Multipliers.PointwiseDivide(at.Slack);
        var scaled = Matrix<double>.Build.Dense(Rows.RowCount, Rows.ColumnCount, (i, j) => Rows[i, j] * weights[i]);
        var system = Rows.TransposeThisAndMultiply(scaled);

        // exp(v) dv = dw - (exp(v) - w), eliminated.
        var dual = r.Dual;
        if (Gamma > 0)
        {
            for (var j = 0; j < Weights; j++)
            {
                system[j, j] += Gamma / Math.Exp(at.V[j]);
                dual[j] -= Gamma * r.Logarithm[j] / Math.Exp(at.V[j]);
            }
        }

        Matrix<double>? coupling = null;
        if (Norm is { } norm)
        {
            // t dy = B dw - y dt - (t y - B w), eliminated: dy = (J dx - r) / t with J = [B, -y].
            coupling = norm.B.Append((-at.Y!).ToColumnMatrix());
            var weight = norm.Alpha / at.X[^1];
            system += weight * coupling.TransposeThisAndMultiply(coupling);
            dual -= weight * coupling.TransposeThisAndMultiply(r.Norming);
        }

        // Symmetric scaling to a unit diagonal: the barrier's terms span many orders of magnitude.
        var scale = system.Diagonal().Map(d => 1 / Math.Sqrt(Math.Max(d, double.Epsilon)));
        var balanced = Matrix<double>.Build.Dense(
            system.RowCount,
            system.RowCount,
            (i, j) => (system[i, j] * scale[i] * scale[j]) + (i == j ? 1e-15 : 0)
        );
        if (!balanced.Enumerate().All(double.IsFinite))
        {
            return null;
        }

        var solver = balanced.LU();
        var right =
            Rows.TransposeThisAndMultiply(at.Slack.Map(s => target / s) - at.Multipliers - weights.PointwiseMultiply(r.Primal)) - dual;
        var (along, fixedPart) = (Solve(Equality), Solve(right));
        var nu = (-r.Equality - Equality.DotProduct(fixedPart)) / Equality.DotProduct(along);
        var x = fixedPart + (nu * along);
        var slack = (Rows * x) + r.Primal;
        var multipliers = at.Slack.Map(s => target / s) - at.Multipliers - weights.PointwiseMultiply(slack);
        var y = coupling is null ? null : ((coupling * x) - r.Norming) / at.X[^1];
        var v = (x.SubVector(0, Weights) - r.Logarithm).PointwiseDivide(at.V.Map(Math.Exp));
        return x.All(double.IsFinite) && v.All(double.IsFinite) && double.IsFinite(nu) ? new(x, slack, multipliers, nu, v, y) : null;

        Vector<double> Solve(Vector<double> b) => solver.Solve(b.PointwiseMultiply(scale)).PointwiseMultiply(scale);
    }

    private (Iterate Next, double Length)? Advance(Iterate at, Iterate direction, double target, double allowed)
    {
        var length = Math.Min(
            1,
            ToBoundary
                * new[]
                {
                    Longest(at.X, direction.X),
                    Longest(at.Slack, direction.Slack),
                    Longest(at.Multipliers, direction.Multipliers),
                }.Min()
        );
        for (var halvings = 0; halvings < 40; halvings++, length /= 2)
        {
            var next = new Iterate(
                at.X + (length * direction.X),
                at.Slack + (length * direction.Slack),
                at.Multipliers + (length * direction.Multipliers),
                at.Nu + (length * direction.Nu),
                at.V + (length * direction.V),
                at.Y is null ? null : at.Y + (length * direction.Y!)
            );
            if (Residuals(next, target).Norm <= ((1 - (0.01 * length)) * allowed) + 1e-15)
            {
                return (next, length);
            }
        }

        return null;
    }

    private static double Longest(Vector<double> at, Vector<double> step)
    {
        var longest = double.PositiveInfinity;
        for (var i = 0; i < at.Count; i++)
        {
            if (step[i] < 0)
            {
                longest = Math.Min(longest, -at[i] / step[i]);
            }
        }

        return longest;
    }

    private Residual Residuals(Iterate at, double target)
    {
        var w = at.X.SubVector(0, Weights);
        var gradient = Cost.Clone();
        var norming = Vector<double>.Build.Dense(1);
        if (Norm is { } norm)
        {
            var (t, y) = (at.X[^1], at.Y!);
            var slope = norm.B.TransposeThisAndMultiply(y);
            gradient.SetSubVector(0, Weights, gradient.SubVector(0, Weights) + (norm.Alpha * slope));
            gradient[gradient.Count - 1] += norm.Alpha / 2 * (1 - y.DotProduct(y));
            norming = (t * y) - (norm.B * w);
        }

        if (Gamma > 0)
        {
            gradient.SetSubVector(0, Weights, gradient.SubVector(0, Weights) + (Gamma * (at.V + 1)));
        }

        return new(
            gradient - Rows.TransposeThisAndMultiply(at.Multipliers) - (at.Nu * Equality),
            Equality.DotProduct(at.X) - EqualityValue,
            (Rows * at.X) - Floors - at.Slack,
            at.Slack.PointwiseMultiply(at.Multipliers) - target,
            Gamma > 0 ? at.V.Map(Math.Exp) - w : Vector<double>.Build.Dense(Weights),
            norming
        );
    }

    private sealed record Iterate(
        Vector<double> X,
        Vector<double> Slack,
        Vector<double> Multipliers,
        double Nu,
        Vector<double> V,
        Vector<double>? Y
    )
    {
        /// <summary>How far exp(v) is from w: it falls by a factor of e a step, and mu should not run ahead of it.</summary>
        public double Lag(double gamma) => gamma > 0 ? (V.Map(Math.Exp) - X.SubVector(0, V.Count)).AbsoluteMaximum() : 0;
    }

    private sealed record Residual(
        Vector<double> Dual,
        double Equality,
        Vector<double> Primal,
        Vector<double> Complementarity,
        Vector<double> Logarithm,
        Vector<double> Norming
    )
    {
        public double Norm =>
            Math.Sqrt(
                Dual.DotProduct(Dual)
                    + (Equality * Equality)
                    + Primal.DotProduct(Primal)
                    + Complementarity.DotProduct(Complementarity)
                    + Logarithm.DotProduct(Logarithm)
                    + Norming.DotProduct(Norming)
            );
    }
}
