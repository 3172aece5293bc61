using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>
/// GraNd: the norm of an example's gradient, averaged over checkpoints.
/// <code>GraNd(x) = (1/K) sum over checkpoints k of || grad L(w_k, x) ||</code>
/// High for examples that still pull hard at the weights: the ones to learn from, and mislabelled ones.
/// </summary>
/// <remarks>
/// <para>
/// The paper averages over ten models of different seeds, each early in its training: give the checkpoint of each run at the same
/// step. Checkpoints of one run work too; they count alike, whatever their learning rate. (With their squares times the
/// learning rate it would be <see cref="TracIn.SelfInfluence"/>.)
/// </para>
/// <para>
/// For softmax regression on features a with a bias it is ||p - y|| sqrt(||a||^2 + 1), EL2N times the features. Cost: a forward
/// and a backward pass without weight gradients for each checkpoint; the norms come from the layers' inputs and output gradients.
/// Unit: the loss over the weights. Reference: Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet", NeurIPS 2021,
/// definition 2.1.
/// </para>
/// </remarks>
public sealed record GraNd : IExampleScorer
{
    /// <summary>The checkpoints to average over: one early checkpoint of each of several runs, or several of one run; copied.</summary>
    /// <value>Null: the model's current weights.</value>
    /// <exception cref="InfluenceException">An empty list.</exception>
    public IReadOnlyList<Checkpoint>? Checkpoints
    {
        get;
        init => field = CheckpointList.Copy(value, 1, "or null for the current weights");
    }

    /// <summary>Bytes that written-out gradients may take, where a layer needs them. Cost only, does not change results.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    /// <inheritdoc/>
    /// <returns>One norm per example.</returns>
    /// <exception cref="InfluenceException">Bad input, or a checkpoint of another model; told before the first batch where
    /// possible.</exception>
    public ExampleScores Score(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (examples, "examples"));
        using var scope = NewDisposeScope();
        using var weights = new WeightKeeper(task.Model, Checkpoints ?? []);
        var count = Checkpoints?.Count ?? 1;
        using var reporter = new ProgressReporter(progress, "gradient norms", count, examples.Count, cancellationToken);
        var totals = zeros([examples.Count], ScalarType.Float64); // [N]
        ParameterCoverage? coverage = null;
        for (var k = 0; k < count; k++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            weights.Load(k);
            reporter.Checkpoint(k + 1);
            using var session = GradientSession.Open(task, examples, queries: null, memory: MemoryBudget);
            coverage ??= session.Coverage;
            new GradientProducts(session, MemoryBudget, GradientMetric.Euclidean, Normalization.None).AddNorms(
                totals,
                examples,
                1.0 / count,
                reporter
            );
        }

        Log.Scored(task.Logger, "GraNd", 1, examples.Count, count, reporter.Elapsed.TotalSeconds);
        return new ExampleScores(
            "GraNd",
            examples.Ids,
            totals.data<double>().ToArray(),
            new ScoreMetadata
            {
                Estimator = "GraNd",
                Checkpoints = CheckpointList.Describe(Checkpoints),
                Sign = "high = the example pulls hard at the weights",
                Unit = "norm of the gradient",
                Layers = task.Layers.Description,
                Coverage = coverage!.Fraction,
                Notes = coverage.Notes,
            }
        );
    }
}
