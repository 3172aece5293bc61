using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>
/// Each example's loss at the model's current weights: the cheapest baseline for finding mislabelled examples, one forward
/// pass and no gradient.
/// </summary>
public sealed record ExampleLosses : IExampleScorer
{
    /// <inheritdoc/>
    /// <returns>One loss per example.</returns>
    /// <exception cref="InfluenceException">Bad input; a loss that is NaN names its examples.</exception>
    public ExampleScores Score(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(examples);
        InfluenceException.ThrowIfAny([.. examples.Problems("examples")]);
        using var claim = ModelInUse.Claim(task.Model);
        using var noGrad = no_grad();
        using var whole = NewDisposeScope();
        var trainable = ModelParameter.Find(task.Model);
        ModelChecks.Run(task.Model, trainable);
        var losses = new LossEvaluator(task, trainable[0].Value.dtype, trainable[0].Value.device);
        using var reporter = new ProgressReporter(progress, "losses", 1, examples.Count, cancellationToken);
        var values = new List<double>(examples.Count);
        foreach (var batch in examples.Batches())
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            values.AddRange(losses.Evaluate(batch, LossKind.Training).cpu().to_type(ScalarType.Float64).data<double>().ToArray());
            reporter.Add(batch.Count);
        }

        return new ExampleScores(
            "Loss",
            examples.Ids,
            [.. values],
            new ScoreMetadata
            {
                Estimator = "loss",
                Sign = "high = the model does not fit the example",
                Unit = "the loss",
            }
        );
    }
}
