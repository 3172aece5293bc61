using System.Globalization;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// LiSSA: the inverse as a truncated Neumann series, each term by the curvature of one batch.
/// <code>h(0) = g,   h(j+1) = g + h(j) - (H_j h(j) + damping h(j)) / scale,   (H + damping I)^-1 g ~ h(J) / scale</code>
/// </summary>
/// <remarks>
/// <para>
/// The damping is a true one. Koh and Liang's own code multiplies h by (1 - damping) instead, which amounts to a damping of damping
/// times scale: to compare, divide by the scale.
/// </para>
/// <para>
/// After J steps a direction of eigenvalue l is off by (1 - (l + damping) / scale)^(J+1): small eigenvalues need many steps.
/// The residual over all examples is computed at the end and reported. A scale below half of the largest eigenvalue
/// diverges, and so does a negative eigenvalue beyond the damping: both are found by the iterates' growth and are errors.
/// </para>
/// <para>
/// Cost: depth x repeats products over one batch, for each query. References: Agarwal, Bullins, Hazan, "Second-Order
/// Stochastic Optimization for Machine Learning in Linear Time", JMLR 2017; Koh, Liang 2017, section 3.
/// </para>
/// <para>It keeps references to the training examples, which stay the caller's: keep them until the last use.</para>
/// </remarks>
public sealed partial class Lissa : Preconditioner
{
    private readonly CurvatureSolver _solver;
    private readonly Options _options;

    private Lissa(CurvatureInfo info, Examples train, Options options)
        : base(info) => (_solver, _options) = (new(this, train, options.Matrix), options);

    /// <summary>Checks that products can be formed and takes note of the weights; the solving happens where it is used.</summary>
    /// <param name="task">The model and its loss; in evaluation mode.</param>
    /// <param name="train">The N training examples that the curvature is the mean over.</param>
    /// <param name="options">Steps, batches, scale; null: the defaults.</param>
    /// <param name="progress">Told when it is done.</param>
    /// <param name="cancellationToken">Checked before the trial product.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">Bad input, a loss whose outputs are unknown (Gauss-Newton), a model that cannot be
    /// differentiated twice.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static Lissa Fit(
        InfluenceTask task,
        Examples train,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        options ??= new Options();
        using var scope = NewDisposeScope();
        var info = CurvatureSolver.CheckedInfo("LiSSA", task, train, options.Matrix, options.Damping, options.Seed, cancellationToken);
        progress?.Report(new InfluenceProgress("LiSSA fit", train.Count, train.Count, TimeSpan.Zero));
        return new Lissa(info, train, options);
    }

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        var system = _solver.System(session, damping, token);
        var whole = _options.BatchSize >= _solver.Train.Count;
        var scale = _options.Scale ?? ((_solver.LargestEigenvalue(system) + system.Damping) * (whole ? 1.1 : 2));
        return new Solver(system, scale > 0 ? scale : 1, whole, _options, session.Task);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) { }

    private sealed class Solver(DampedCurvature system, double scale, bool whole, Options options, InfluenceTask task)
        : VectorInverse(system.Product.Layout)
    {
        private readonly SolverReport _report = new(options.Tolerance);

        public override IReadOnlyList<(string Block, double Damping)> Dampings => [("all parameters", system.Damping)];

        public override string? Report =>
            _report.ToString() is { } report ? string.Create(CultureInfo.InvariantCulture, $"{report}, scale {scale:G4}") : null;

        public override Tensor Solve(Tensor gradients)
        {
            var sum = zeros_like(gradients); // [K, P]
            var steps = 0;
            for (var repeat = 0; repeat < options.Repeats; repeat++)
            {
                steps = Math.Max(steps, Add(gradients, options.Seed + repeat, sum));
            }

            var x = sum.div_(Kept(scale * options.Repeats));
            _report.Add(steps, system.Residuals(x, gradients));
            if (_report.FellShort > 0)
            {
                Log.SolverFellShort(task.Logger, "LiSSA", Report!);
            }

            return x;
        }

        /// <summary>One run; returns the number of steps.</summary>
        private int Add(Tensor g, long seed, Tensor sum)
        {
            using var scope = NewDisposeScope();
            var lengths = Rows.Norms(g);
            var h = g.clone(); // [K, P]
            var step = 0;
            foreach (var batch in system.Train.EndlessBatches(seed, options.BatchSize).Take(options.Depth))
            {
                using var one = NewDisposeScope();
                // [K, P]: the residual of h / scale on this batch
                var change = g - (system.MultiplyOn(batch, h) / Kept(scale));
                h.add_(change);
                step++;
                CheckGrowth(Rows.Ratio(Rows.Norms(h), lengths), step);
                if (whole && Rows.Ratio(Rows.Norms(change), lengths).Max() <= options.Tolerance)
                {
                    break;
                }
            }

            sum.add_(h);
            return step;
        }

        /// <summary>While no step stretches anything, h grows by at most one length of g a step.</summary>
        private void CheckGrowth(double[] growth, int step)
        {
            if (growth.Any(r => !(r <= 10.0 * (step + 1))))
            {
                throw new InfluenceException(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"LiSSA diverges: after {step} steps the iterate is {growth.Max():G3} times as long as the gradient. With "
                            + $"the scale of {scale:G4} a batch has an eigenvalue beyond twice that, or a negative one. Write a larger "
                            + $"Scale or BatchSize, more damping, or CurvatureMatrix.GaussNewton."
                    )
                );
            }
        }
    }
}
