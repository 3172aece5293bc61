using System.Globalization;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// (G + damping)^-1 g with the Gauss-Newton matrix G itself, by block conjugate gradients over all queries of a batch, with another
/// preconditioner, EK-FAC say, as the start and in every step, and G over one fixed, large draw of training examples.
/// </summary>
/// <remarks>
/// <para>
/// It is what <see cref="Astra"/> aims at, without step sizes: the queries search in each other's directions, so that few iterations
/// do, and one draw of examples makes the matrix the same in all of them. The damping is the inner fit's, layer by layer: EK-FAC at the
/// same setting is the same estimator with another curvature. Choose the damping among 0.1, 1 and 10 times the mean eigenvalue on held-out
/// queries (<c>DampingSearch</c>): where little of it is left the solve amplifies flat directions, and its scores are worse than EK-FAC's
/// however well the system is solved. So are they on a model that fits its training examples almost perfectly: see
/// <see cref="Options.Shrinkage"/>.
/// </para>
/// <para>
/// Cost: for each iteration one product over the drawn examples a query, some three forward and backward passes, at most 21 of them; one
/// inner inverse a query. Memory: seven vectors of the parameters' size for each query of a batch: give the queries a <c>BatchSize</c> as
/// large as memory allows. The residual is computed anew at the end, over the drawn examples, and reported in the scores' metadata.
/// </para>
/// <para>
/// References: Wang, Nguyen, Yang, Bae, McIlraith, Grosse, "Better Training Data Attribution via Better Inverse Hessian-Vector Products",
/// NeurIPS 2025, for EK-FAC as preconditioner; O'Leary, "The Block Conjugate Gradient Algorithm and Related Methods", 1980.
/// </para>
/// <para>It keeps references to the training examples and to the inner preconditioner, which stay the caller's: keep them until the last
/// use.</para>
/// </remarks>
/// <example>
/// <code>
/// using var solver = BlockConjugateGradient.Fit(task, train, ekfac);
/// using var scores = new InfluenceFunction(solver) { Damping = Damping.RelativeToMeanEigenvalue(1) }.Score(task, train, queries);
/// </code>
/// </example>
public sealed partial class BlockConjugateGradient : Preconditioner
{
    private readonly Preconditioner _inner;
    private readonly Options _options;
    private readonly Examples _drawn;

    private BlockConjugateGradient(CurvatureInfo info, Examples drawn, Preconditioner inner, Options options)
        : base(info) => (_inner, _drawn, _options) = (inner, drawn, options);

    /// <summary>Checks that products can be formed and that the inner preconditioner fits; the solving happens where it is used.</summary>
    /// <param name="task">The model and its loss, made of <see cref="Losses"/>; in evaluation mode.</param>
    /// <param name="train">The N training examples.</param>
    /// <param name="inner">The approximate inverse, positive definite, fitted at the model's present weights: EK-FAC, usually.</param>
    /// <param name="options">Damping, examples, when to stop; null: the defaults.</param>
    /// <param name="progress">Told when it is done.</param>
    /// <param name="cancellationToken">Checked before the trial product.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">
    /// Bad input, an inner preconditioner of other weights, a loss whose outputs are unknown, a model that cannot be differentiated twice.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static BlockConjugateGradient Fit(
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
            $"block conjugate gradient over {inner.Info.Method}",
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

        var drawn = train;
        if (options.Examples < train.Count)
        {
            var order = new KeyedRandom(options.Seed, "block conjugate gradient").Order(train.Count);
            drawn = train.Only([.. order.Take(options.Examples).Order().Select(i => train.Ids[i])]);
            info = info with { Matrix = string.Create(CultureInfo.InvariantCulture, $"{info.Matrix} over {options.Examples} examples") };
        }

        if (options.Shrinkage > 0)
        {
            info =
                inner is LayerwisePreconditioner
                    ? info with
                    {
                        Matrix = string.Create(CultureInfo.InvariantCulture, $"{info.Matrix}, {options.Shrinkage:P0} {inner.Info.Method}"),
                    }
                    : throw new InfluenceException(
                        $"Shrinkage mixes in the curvature of Ekfac, Kfac or DiagonalFisher; the inner "
                            + $"preconditioner is {inner.Info.Method}. Leave Shrinkage at 0."
                    );
        }

        progress?.Report(new InfluenceProgress("block conjugate gradient fit", train.Count, train.Count, TimeSpan.Zero));
        return new BlockConjugateGradient(info, drawn, inner, options);
    }

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        damping ??= Info.Damping;
        var product = new GaussNewtonProduct(session, new ParameterVector(session));
        var inverse = _inner.Prepare(session, _options.InnerDamping ?? damping, 0, token);
        var blocks = _options.Shrinkage > 0 ? ((LayerwisePreconditioner)_inner).Blocks.Select(b => b?.Map(e => e.clone())).ToArray() : [];
        try
        {
            var (each, named) = LayerDampings.Of(session, _inner, damping, () => MeanEigenvalue.Of(product, _drawn, Info.Seed, token));
            return new Solver(product, _drawn, each, named, inverse, blocks, _options, session.Task, token);
        }
        catch
        {
            Array.ForEach(blocks, block => block?.Dispose());
            inverse.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) { }

    private sealed class Solver(
        CurvatureProduct product,
        Examples drawn,
        Tensor each,
        IReadOnlyList<(string Block, double Damping)> named,
        Inverse inverse,
        BlockInverse?[] blocks,
        Options options,
        InfluenceTask task,
        CancellationToken token
    ) : VectorInverse(product.Layout)
    {
        private readonly SolverReport _report = new(options.Tolerance);
        private readonly InnerInverse _inner = new(inverse, product.Layout, named.Min(n => n.Damping));

        public override IReadOnlyList<(string Block, double Damping)> Dampings =>
            [.. named, .. inverse.Dampings.Select(d => ($"inner {d.Block}", d.Damping))];

        public override string? Report => _report.ToString();

        public override Tensor Solve(Tensor gradients)
        {
            var (x, iterations, residuals) = new BlockIteration(Multiply, _inner.Apply, options.Tolerance, options.MaximumIterations).Solve(
                gradients
            );
            _report.Add(iterations, residuals);
            if (_report.FellShort > 0)
            {
                Log.SolverFellShort(task.Logger, "Block conjugate gradient", _report.ToString()!);
            }

            return x;
        }

        public override void Dispose()
        {
            each.Dispose();
            inverse.Dispose();
            Array.ForEach(blocks, block => block?.Dispose());
            base.Dispose();
        }

        private Tensor Multiply(Tensor vectors)
        {
            using var scope = NewDisposeScope();
            var sum = product.Over(drawn, vectors, token).mul_(Kept(1 - options.Shrinkage)).add_(vectors * each);
            foreach (var (block, (start, count)) in blocks.Zip(product.Layout.BlockRanges))
            {
                using var one = NewDisposeScope();
                if (block is not null)
                {
                    var at = start;
                    var sizes = product.Layout.PartSizes(start, count);
                    Tensor[] parts = [.. sizes.Select(size => vectors.narrow(1, (at += size) - size, size).clone())];
                    sum.narrow(1, start, count)
                        .add_(cat(block.Dense(new DenseGradients(vectors.shape[0], () => parts)), 1), Kept(options.Shrinkage));
                }
            }

            return sum.MoveToOuterDisposeScope();
        }
    }
}
