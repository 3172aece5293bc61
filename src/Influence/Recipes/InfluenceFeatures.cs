using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>What a <see cref="DataInfluenceModel"/> knows of an example: a row of numbers.</summary>
public abstract class InfluenceFeatures
{
    private protected InfluenceFeatures() { }

    /// <summary>Features of your own: embeddings that come with the examples, <c>b => b["embedding"]</c>, or a model's hidden
    /// states.</summary>
    /// <param name="features">From a batch to <c>[B, d]</c>; called without gradients.</param>
    /// <returns>The features.</returns>
    public static InfluenceFeatures Of(Func<ExampleBatch, Tensor> features)
    {
        ArgumentNullException.ThrowIfNull(features);
        return new Given(features);
    }

    /// <summary>
    /// Numbers that the regression is handed as they are, not standardised: token ids for a language model in a
    /// <see cref="ModuleRegression"/>, <c>b => b["tokens"]</c>.
    /// </summary>
    /// <param name="inputs">From a batch to <c>[B, d]</c>, of any type, kept in float64; called without gradients.</param>
    /// <returns>The features.</returns>
    public static InfluenceFeatures AsGiven(Func<ExampleBatch, Tensor> inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        return new Unscaled(inputs);
    }

    /// <summary>
    /// Projected gradients of the training loss at the model's weights. What is fitted at some weights is refused at others. For small
    /// steps of SGD the influence is linear in them.
    /// </summary>
    /// <param name="task">The model, its loss and, by <c>Layers</c>, the parameters.</param>
    /// <param name="projection">The projection; null: 512 columns.</param>
    /// <returns>The features.</returns>
    public static InfluenceFeatures Gradients(InfluenceTask task, ProjectedGradients? projection = null)
    {
        ArgumentNullException.ThrowIfNull(task);
        return new Projected(task, projection ?? new ProjectedGradients());
    }

    /// <summary>What they are, for metadata.</summary>
    internal abstract string Description { get; }

    /// <summary>Whether columns are brought to mean 0 and variance 1 before the regression sees them.</summary>
    internal virtual bool IsStandardised => true;

    /// <summary>What the features depend on beside the example; empty where on nothing.</summary>
    internal abstract string Fingerprint();

    /// <summary>Batch by batch: ids and rows <c>[B, d]</c>, float64 on the CPU, which live until the delegate returns.</summary>
    internal abstract void Read(
        Examples examples,
        Action<IReadOnlyList<long>, Tensor> read,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    );

    /// <summary>All rows, <c>[N, d]</c>, in the current scope.</summary>
    internal Tensor Table(Examples examples, IProgress<InfluenceProgress>? progress, CancellationToken token)
    {
        using var scope = NewDisposeScope();
        var all = new List<Tensor>();
        Read(
            examples,
            (_, rows) =>
            {
                var kept = rows.clone();
                scope.Attach(kept);
                all.Add(kept);
            },
            progress,
            token
        );
        return cat([.. all], 0).MoveToOuterDisposeScope();
    }

    private sealed class Unscaled(Func<ExampleBatch, Tensor> inputs) : Given(inputs)
    {
        internal override string Description => "inputs as they are";

        internal override bool IsStandardised => false;
    }

    private class Given(Func<ExampleBatch, Tensor> features) : InfluenceFeatures
    {
        internal override string Description => "features of the user's own";

        internal override string Fingerprint() => string.Empty;

        internal override void Read(
            Examples examples,
            Action<IReadOnlyList<long>, Tensor> read,
            IProgress<InfluenceProgress>? progress,
            CancellationToken token
        )
        {
            using var noGrad = no_grad();
            using var reporter = new ProgressReporter(progress, "features", 1, examples.Count, token);
            foreach (var batch in examples.Batches())
            {
                token.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var rows = features(batch);
                if (rows is null || rows.dim() != 2 || rows.shape[0] != batch.Count)
                {
                    throw new InfluenceException(
                        $"Features are one row an example, [B, d] with B = {batch.Count}; found "
                            + $"{(rows is null ? "null" : $"[{string.Join(", ", rows.shape)}]")}. Write reshape(batch.Count, -1)."
                    );
                }

                var numbers = rows.detach().to_type(ScalarType.Float64).cpu(); // [B, d]
                FiniteRows.Check(numbers, batch.Ids, "Features");
                read(batch.Ids, numbers);
                reporter.Add(batch.Count);
            }
        }
    }

    private sealed class Projected(InfluenceTask task, ProjectedGradients projection) : InfluenceFeatures
    {
        internal override string Description =>
            $"gradients of {task.Layers.Description}, projected to {projection.Dimension} dimensions (seed {projection.Seed})";

        internal override string Fingerprint() => WeightsHash.OfAll(task.Model);

        internal override void Read(
            Examples examples,
            Action<IReadOnlyList<long>, Tensor> read,
            IProgress<InfluenceProgress>? progress,
            CancellationToken token
        ) => projection.Read(task, examples, (ids, rows) => read(ids, rows.to_type(ScalarType.Float64).cpu()), progress, token);
    }
}
