using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// (H + damping I)^-1 g by conjugate gradients on the whole training set: exact to a tolerance, and no matrix is formed.
/// </summary>
/// <remarks>
/// <para>
/// Cost: one pass over the training examples for each iteration, in which every vector costs about two forward and
/// backward passes (Hessian) or three (Gauss-Newton). All queries of a batch share the passes. About sqrt(condition number)
/// iterations; more damping, fewer iterations. Memory: five vectors of the parameters' size for each query of a batch.
/// </para>
/// <para>
/// The residual is computed anew at the end, and reported in the scores' metadata. On a Hessian with negative eigenvalues
/// it stops with an error. References: Koh, Liang 2017, section 3; Martens, "Deep Learning via Hessian-free Optimization", ICML 2010.
/// </para>
/// <para>It keeps references to the training examples, which stay the caller's: keep them until the last use.</para>
/// </remarks>
public sealed partial class ConjugateGradient : Preconditioner
{
    private readonly CurvatureSolver _solver;
    private readonly Options _options;

    private ConjugateGradient(CurvatureInfo info, Examples train, Options options)
        : base(info) => (_solver, _options) = (new(this, train, options.Matrix), options);

    /// <summary>Checks that products can be formed and takes note of the weights; the solving happens where it is used.</summary>
    /// <param name="task">The model and its loss; in evaluation mode.</param>
    /// <param name="train">The N training examples that the curvature is the mean over.</param>
    /// <param name="options">Matrix, damping and when to stop; null: the defaults.</param>
    /// <param name="progress">Told when it is done.</param>
    /// <param name="cancellationToken">Checked before the trial product.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">Bad input, a loss whose outputs are unknown (Gauss-Newton), a model that cannot be
    /// differentiated twice.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static ConjugateGradient Fit(
        InfluenceTask task,
        Examples train,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        options ??= new Options();
        using var scope = NewDisposeScope();
        var info = CurvatureSolver.CheckedInfo(
            "conjugate gradient",
            task,
            train,
            options.Matrix,
            options.Damping,
            options.Seed,
            cancellationToken
        );
        progress?.Report(new InfluenceProgress("conjugate gradient fit", train.Count, train.Count, TimeSpan.Zero));
        return new ConjugateGradient(info, train, options);
    }

    private protected override Inverse PrepareInverse(
        GradientSession session,
        Damping? damping,
        double tolerance,
        CancellationToken token
    ) => new Solver(_solver.System(session, damping, token), _options, session.Task);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) { }

    private sealed class Solver(DampedCurvature system, Options options, InfluenceTask task) : VectorInverse(system.Product.Layout)
    {
        private readonly SolverReport _report = new(options.Tolerance);

        public override IReadOnlyList<(string Block, double Damping)> Dampings => [("all parameters", system.Damping)];

        public override string? Report => _report.ToString();

        public override Tensor Solve(Tensor gradients)
        {
            var (x, iterations, residuals) = new ConjugateGradientIteration(
                system.Multiply,
                null,
                options.Tolerance,
                options.MaximumIterations
            ).Solve(gradients);
            _report.Add(iterations, residuals);
            if (_report.FellShort > 0)
            {
                Log.SolverFellShort(task.Logger, "Conjugate gradient", _report.ToString()!);
            }

            return x;
        }
    }
}
