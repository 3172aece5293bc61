using System.Globalization;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// ASTRA: the inverse of another preconditioner P, EK-FAC say, refined until it is that of the Gauss-Newton matrix G itself.
/// <code>minimise 1/2 x' (G + damping I) x - x' g   from x = P^-1 g, along m = momentum m + P^-1 (g - (G_B + damping I) x)</code>
/// with G_B over a mini-batch, or by conjugate gradients preconditioned by P over all examples.
/// </summary>
/// <remarks>
/// <para>
/// The published step sizes are multiples of the damping that were tuned for each data set. Unless given, ours is 1 over the
/// largest eigenvalue of P^-1 (G_B + damping I) on any of eight mini-batches, halved after every 50 steps.
/// </para>
/// <para>
/// Cost: one product over a mini-batch (or over all examples) for each step and query, power iterations of up to 30 products over
/// each of eight mini-batches at the first use, and one pass for the residual, which is reported. Memory: four vectors of the parameters'
/// size for each query of a batch. Reference: Wang, Nguyen, Yang, Bae, McIlraith, Grosse, "Better Training Data Attribution via Better
/// Inverse Hessian-Vector Products", NeurIPS 2025.
/// </para>
/// <para>It keeps references to the training examples and to the inner preconditioner, which stay the caller's: keep them until the last
/// use.</para>
/// </remarks>
public sealed partial class Astra : Preconditioner
{
    private const int BatchesMeasured = 8;
    private readonly Preconditioner _inner;
    private readonly CurvatureSolver _solver;
    private readonly Options _options;

    private Astra(CurvatureInfo info, Examples train, Preconditioner inner, Options options)
        : base(info) => (_solver, _inner, _options) = (new(this, train, CurvatureMatrix.GaussNewton), inner, options);

    /// <summary>Checks that products can be formed and that the inner preconditioner fits; the solving happens where it is used.</summary>
    /// <param name="task">The model and its loss, made of <see cref="Losses"/>; in evaluation mode.</param>
    /// <param name="train">The N training examples that the curvature is the mean over.</param>
    /// <param name="inner">The approximate inverse, positive definite, fitted at the model's present weights: EK-FAC, usually.</param>
    /// <param name="options">Iteration, steps, batches; null: the defaults.</param>
    /// <param name="progress">Told when it is done.</param>
    /// <param name="cancellationToken">Checked before the trial product.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">
    /// Bad input, an inner preconditioner of other weights, a loss whose outputs are unknown, a model that cannot be differentiated twice.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static Astra Fit(
        InfluenceTask task,
        Examples train,
        Preconditioner inner,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(inner);
        options ??= new Options();
        using var scope = NewDisposeScope();
        var info = CurvatureSolver.CheckedInfo(
            $"ASTRA over {inner.Info.Method}",
            task,
            train,
            CurvatureMatrix.GaussNewton,
            options.Damping,
            options.Seed,
            cancellationToken
        );
        if (info.Weights != inner.Info.Weights)
        {
            throw new InfluenceException(
                $"The inner {inner.Info.Method} was fitted at other weights, or on other parameters, than the model has now. Fit it again "
                    + "with this task."
            );
        }

        progress?.Report(new InfluenceProgress("ASTRA fit", train.Count, train.Count, TimeSpan.Zero));
        return new Astra(info, train, inner, options);
    }

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        damping ??= Info.Damping;
        var product = new GaussNewtonProduct(session, new ParameterVector(session));
        var (each, named) = LayerDampings.Of(session, _inner, damping, () => MeanEigenvalue.Of(product, _solver.Train, Info.Seed, token));
        var system = new DampedCurvature(product, _solver.Train, named.Min(n => n.Damping), token) { Each = each };
        Inverse? inverse = null;
        try
        {
            inverse = _inner.Prepare(session, _options.InnerDamping ?? damping, 0, token);
            var inner = new InnerInverse(inverse, product.Layout, system.Damping);
            var stepSize = _options.StepSize ?? 0;
            if (stepSize == 0 && _options.Iteration == Kind.Momentum)
            {
                stepSize = StepSize(system, inner, token);
            }

            return new Solver(system, named, inverse, inner, stepSize, _options, session.Task);
        }
        catch
        {
            each.Dispose();
            inverse?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// 1 over the largest eigenvalue that the preconditioned system has on any of a few mini-batches: where few examples curve the
    /// loss strongly, a batch that holds one has a far larger eigenvalue than the mean over all.
    /// </summary>
    /// <inheritdoc/>
    protected override void Dispose(bool disposing) { }

    private double StepSize(DampedCurvature system, InnerInverse inner, CancellationToken token)
    {
        var largest = 0.0;
        var batches = _options.BatchSize >= system.Train.Count ? 1 : BatchesMeasured;
        foreach (var batch in system.Train.EndlessBatches(_options.Seed, _options.BatchSize).Take(batches))
        {
            token.ThrowIfCancellationRequested();
            largest = Math.Max(largest, PowerIteration.Of(v => inner.Apply(system.MultiplyOn(batch, v)), system.Product.Layout, Info.Seed));
        }

        return largest > 0 ? 1 / largest : 1;
    }

    private sealed class Solver(
        DampedCurvature system,
        IReadOnlyList<(string Block, double Damping)> named,
        Inverse inverse,
        InnerInverse inner,
        double stepSize,
        Options options,
        InfluenceTask task
    ) : VectorInverse(system.Product.Layout)
    {
        private readonly SolverReport _report = new(options.Tolerance);
        private double _before;

        public override IReadOnlyList<(string Block, double Damping)> Dampings =>
            [.. named, .. inverse.Dampings.Select(d => ($"inner {d.Block}", d.Damping))];

        public override string? Report =>
            _report.ToString() is { } report
                ? string.Create(CultureInfo.InvariantCulture, $"{report}, {_before:G3} before the refinement")
                : null;

        public override Tensor Solve(Tensor gradients)
        {
            var start = inner.Apply(gradients); // [K, P]
            var before = system.Residuals(start, gradients);
            _before = Math.Max(_before, before.DefaultIfEmpty(0).Max());
            Tensor x;
            if (options.Iteration == Kind.Momentum)
            {
                x = Descend(start, gradients);
                var after = system.Residuals(x, gradients);
                CheckDivergence(before, after);
                _report.Add(options.Iterations, after);
            }
            else
            {
                // Conjugate gradients pass through x = P^-1 g by themselves: their first direction is that.
                (x, var iterations, var residuals) = new ConjugateGradientIteration(
                    system.Multiply,
                    inner.Apply,
                    options.Tolerance,
                    options.Iterations
                ).Solve(gradients);
                _report.Add(iterations, residuals);
            }

            if (_report.FellShort > 0)
            {
                Log.SolverFellShort(task.Logger, "ASTRA", Report!);
            }

            return x;
        }

        public override void Dispose()
        {
            system.Each?.Dispose();
            inverse.Dispose();
            base.Dispose();
        }

        private Tensor Descend(Tensor start, Tensor g)
        {
            using var scope = NewDisposeScope();
            var x = start.clone(); // [K, P]
            var m = zeros_like(x); // [K, P]
            var step = 0;
            foreach (var batch in system.Train.EndlessBatches(options.Seed, options.BatchSize).Take(options.Iterations))
            {
                using var one = NewDisposeScope();
                m.mul_(Kept(options.Momentum)).add_(inner.Apply(g - system.MultiplyOn(batch, x)));
                x.add_(m, Kept(stepSize * Math.Pow(0.5, step++ / options.HalveEvery)));
            }

            return x.MoveToOuterDisposeScope();
        }

        private void CheckDivergence(double[] before, double[] after)
        {
            if (after.Zip(before).Any(r => !(r.First <= 10 * Math.Max(1, r.Second))))
            {
                throw new InfluenceException(
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"ASTRA diverges: the relative residual went from {before.Max():G3} to {after.Max():G3} with steps of "
                            + $"{stepSize:G3}. Write a smaller StepSize, a larger BatchSize or more damping, or "
                            + $"Iteration.ConjugateGradient."
                    )
                );
            }
        }
    }
}
