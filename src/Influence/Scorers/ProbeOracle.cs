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
/// with the same parameters as the running one (the learning rate comes with the state). Plain SGD has no state: <c>model => torch.optim.SGD(model.parameters(), 0.01)</c>;
/// TorchSharp's SGD with momentum can load a state only once it has stepped. Weights, buffers and gradients are put back bit for bit,
/// also when a call fails or is cancelled. A parameter that the example's loss does not reach is not stepped on.
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
public static class ProbeOracle
{
    /// <summary>Probes every example.</summary>
    /// <param name="task">The model in evaluation mode, its training loss, which is stepped on, and its measurement.</param>
    /// <param name="probes">N examples, usually a sample of the pool.</param>
    /// <param name="reference">The examples of the reference loss.</param>
    /// <param name="optimizer">
    /// Makes a new optimizer for one step, with the state that it has at this point of training; it is disposed after the step. Called twice before
    /// the first probe, to see that it does not return the running one.
    /// </param>
    /// <param name="progress">Told after each probe.</param>
    /// <param name="cancellationToken">Checked before each probe.</param>
    /// <returns>One influence an example, in the unit of the measurement.</returns>
    /// <exception cref="InfluenceException">Bad input, an optimizer that cannot be made or is the same each time, or a step after which the reference loss is not finite (with the example's id).</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static ExampleScores Measure(
        InfluenceTask task,
        Examples probes,
        Examples reference,
        Func<nn.Module, optim.Optimizer> optimizer,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ExampleChecks.Run(task, (probes, "probes"), (reference, "reference examples"));
        ArgumentNullException.ThrowIfNull(optimizer);
        using var whole = NewDisposeScope();
        var trainable = ModelParameter.Find(task.Model);
        ModelChecks.Run(task.Model, trainable);
        var losses = new LossEvaluator(task, trainable[0].Value.dtype, trainable[0].Value.device);
        var reporter = new ProgressReporter(progress, "probing", 1, probes.Count, cancellationToken);
        var values = new List<double>(probes.Count);
        using var kept = new KeptState(task.Model);
        ProbeStep.Check(task.Model, optimizer);
        var before = Mean(losses, reference, finite: true);
        cancellationToken.ThrowIfCancellationRequested();
        foreach (var batch in probes.Batches())
        {
            for (var i = 0; i < batch.Count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var position = i;
                ProbeStep.Take(task.Model, kept, optimizer, () => losses.Evaluate(batch.Pick([position]), LossKind.Training).sum());
                var after = Mean(losses, reference, finite: false);
                kept.Restore();
                values.Add(double.IsFinite(after) ? before - after : throw new InfluenceException(
                    $"After one step on the example with id {batch.Ids[i]} the reference loss is {after}: give the optimizer a smaller learning rate, or leave the example out.")
                {
                    ExampleIds = [batch.Ids[i]],
                });
                reporter.Add(1);
            }
        }

        Log.Scored(task.Logger, "oracle influence", 1, probes.Count, 1, reporter.Elapsed.TotalSeconds);
        return new ExampleScores("Oracle influence", probes.Ids, [.. values], new ScoreMetadata
        {
            Estimator = "oracle influence by one optimizer step",
            Sign = "positive = a step on the example lowers the reference loss",
            Unit = "the measurement",
        });
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
