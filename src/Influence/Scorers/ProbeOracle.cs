using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>
/// Data influence by trying: one optimizer step on an example alone, from the present weights, and the fall of the reference
/// loss,
/// <code>influence(x) = L_ref(w) - L_ref(w after one step on x),   L_ref = mean measurement over the reference examples</code>
/// What <c>DataInfluenceModel</c> is fitted to, and a measure for every cheaper estimate.
/// </summary>
/// <remarks>
/// <para>
/// Each step starts from the same weights and the same optimizer state. The optimizer of the training run is never stepped: a
/// fresh one is made for each probe, which copies the other's state, so that state stays bit for bit what it was:
/// <code>
/// model =>
/// {
///     var probe = torch.optim.Adam(model.parameters().Where(p => p.requires_grad));
///     probe.load_state_dict(adam.state_dict());
///     return probe;
/// }
/// </code>
/// with the same parameters as the running one (the learning rate comes with the state). Plain SGD has no state: <c>model =>
/// torch.optim.SGD(model.parameters(), 0.01)</c>; TorchSharp's SGD with momentum can load a state only once it has stepped. Weights,
/// buffers and gradients are put back bit for bit, also when a call fails or is cancelled. A parameter that the example's loss does not
/// reach is not stepped on.
/// </para>
/// <para>
/// For SGD with a small learning rate eta the influence is eta times the gradient dot product, to first order (<see cref="TracIn"/>
/// without checkpoints). In float32 a fall below 1e-7 of the reference loss is lost in rounding: probe with the run's learning rate or
/// a larger one. Cost: for each probe a forward and backward pass over one example, a step, and a forward pass over
/// the reference examples. Memory: the weights twice, and a copy of the optimizer's state.
/// Reference: Yu, Das, Xiong, "MATES: Model-Aware Data Selection for Efficient Pretraining with Data Influence Models", NeurIPS 2024,
/// equations 4 and 5.
/// </para>
/// </remarks>
public sealed record ProbeOracle : IExampleScorer
{
    /// <summary>The examples of the reference loss.</summary>
    public required Examples Reference { get; init; }

    /// <summary>
    /// Makes a new optimizer for one step, with the state that it has at this point of training; it is disposed after the step. Called
    /// twice before the first probe, to see that it does not return the running one.
    /// </summary>
    public required Func<nn.Module, optim.Optimizer> Optimizer { get; init; }

    /// <inheritdoc/>
    /// <remarks>
    /// The model is in evaluation mode; its training loss is stepped on. The examples are usually a sample of the pool; the token is
    /// checked before each of them.
    /// </remarks>
    /// <returns>One influence an example, in the unit of the measurement.</returns>
    /// <exception cref="InfluenceException">Bad input, an optimizer that cannot be made or is the same each time, or a step after which the
    /// reference loss is not finite (with the example's id).</exception>
    public ExampleScores Score(
        InfluenceTask task,
        Examples examples,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (examples, "probes"), (Reference, "reference examples"));
        ArgumentNullException.ThrowIfNull(Optimizer);
        using var whole = NewDisposeScope();
        var trainable = ModelParameter.Find(task.Model);
        ModelChecks.Run(task.Model, trainable);
        var losses = new LossEvaluator(task, trainable[0].Value.dtype, trainable[0].Value.device);
        using var reporter = new ProgressReporter(progress, "probing", 1, examples.Count, cancellationToken);
        var values = new List<double>(examples.Count);
        using var kept = new KeptState(task.Model);
        ProbeStep.Check(task.Model, Optimizer);
        var before = Mean(losses, Reference, finite: true);
        cancellationToken.ThrowIfCancellationRequested();
        foreach (var batch in examples.Batches())
        {
            for (var i = 0; i < batch.Count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var position = i;
                ProbeStep.Take(task.Model, kept, Optimizer, () => losses.Evaluate(batch.Pick([position]), LossKind.Training).sum());
                var after = Mean(losses, Reference, finite: false);
                kept.Restore();
                values.Add(
                    double.IsFinite(after)
                        ? before - after
                        : throw new InfluenceException(
                            $"After one step on the example with id {batch.Ids[i]} the reference loss is {after}: give the "
                                + "optimizer a smaller learning rate, or leave the example out."
                        )
                        {
                            ExampleIds = [batch.Ids[i]],
                        }
                );
                reporter.Add(1);
            }
        }

        Log.Scored(task.Logger, "oracle influence", 1, examples.Count, 1, reporter.Elapsed.TotalSeconds);
        return new ExampleScores(
            "Oracle influence",
            examples.Ids,
            [.. values],
            new ScoreMetadata
            {
                Estimator = "oracle influence by one optimizer step",
                Sign = "positive = a step on the example lowers the reference loss",
                Unit = "the measurement",
            }
        );
    }

    private static double Mean(LossEvaluator losses, Examples reference, bool finite)
    {
        using var noGrad = no_grad();
        var total = 0.0;
        foreach (var batch in reference.Batches())
        {
            using var scope = NewDisposeScope();
            total += losses.Evaluate(batch, LossKind.Measurement, finite).to_type(ScalarType.Float64).sum().item<double>();
        }

        return total / reference.Count;
    }
}
