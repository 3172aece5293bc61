using Influence.Formats;
using Influence.Gradients;
using Influence.Training;

namespace Influence.Estimators;

public sealed partial record Magic
{
    /// <summary>What the optimizer of a recorded run held; null where the run was written down by hand.</summary>
    private OptimizerRecord? _trained;

    /// <summary>
    /// The run that a <see cref="CheckpointRecorder"/> was told step by step: its batches, its learning rates, and the optimizer of its
    /// checkpoints. What no recorder sees is set by <c>with</c>: <see cref="SumsLosses"/> and <see cref="ClipNorm"/>.
    /// </summary>
    /// <remarks>
    /// The weights from before training must be in the model: save them by <c>recorder.Save(model, optimizer)</c> before the first step,
    /// and load them by <c>CheckpointRecorder.Find(folder).Single(c => c.Step == 0).LoadInto(model)</c>.
    /// </remarks>
    /// <param name="folder">The recorder's folder.</param>
    /// <returns>The run.</returns>
    /// <exception cref="InfluenceException">Steps are missing, learning rates or settings differ between parameter groups, or the optimizer
    /// is none that a replay knows: plain SGD, AdamW, or Adam without weight decay.</exception>
    /// <example>
    /// <code>
    /// CheckpointRecorder.Find("checkpoints").Single(c => c.Step == 0).LoadInto(model);
    /// using var scores = Magic.FromRun("checkpoints").Score(task, train, queries);
    /// </code>
    /// </example>
    public static Magic FromRun(string folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        var steps = CheckpointRecorder.FindSteps(folder);
        if (steps.Count == 0)
        {
            throw new InfluenceException(
                $"{folder} has checkpoints at most, and no steps of a run. Tell the recorder each batch: recorder.Step(model, batch.Ids, "
                    + "optimizer)."
            );
        }

        if (steps.Index().FirstOrDefault(s => s.Item.Step != s.Index + 1) is { Item: { } wrong } gap)
        {
            throw new InfluenceException(
                $"A replay needs every step from the first; after {gap.Index} steps {folder} has step {wrong.Step}. Was a step counted "
                    + "without its batch?"
            );
        }

        if (steps.FirstOrDefault(s => s.LearningRates.Distinct().Count() != 1) is { } several)
        {
            throw new InfluenceException(
                $"A replay has one learning rate a step; at step {several.Step} the parameter groups of {folder} have "
                    + $"{string.Join(", ", several.LearningRates.Distinct())}."
            );
        }

        var made =
            CheckpointRecorder.Find(folder).LastOrDefault(c => c.Made.IsKnown)
            ?? throw new InfluenceException(
                $"{folder} has no checkpoint that names its optimizer: save one by recorder.Save(model, optimizer)."
            );
        return new Magic
        {
            Batches = [.. steps.Select(s => s.Ids)],
            LearningRates = [.. steps.Select(s => s.LearningRates[0])],
            Update = RuleOf(made),
            _trained = made.Made,
        };
    }

    /// <summary>Refuses a model of which the run's optimizer held a part only: a replay would train all of it.</summary>
    private void CheckTrained(InfluenceTask task)
    {
        if (_trained is not { } held)
        {
            return;
        }

        List<string> left =
        [
            .. ModelParameter
                .Find(task.Model)
                .GroupBy(p => p.Storage)
                .Where(tied => tied.All(p => held.Of(p.Name) is null))
                .Select(tied => tied.First().Name),
        ];
        if (left.Count > 0)
        {
            throw new InfluenceException(
                $"The run's optimizer did not hold {InfluenceException.List(left)}, which a replay would train. Set requires_grad = false "
                    + "for them."
            );
        }
    }

    private static UpdateRule RuleOf(Checkpoint made)
    {
        var settings = made.Made.Settings.Select(s => s with { Step = 0 }).Distinct().ToList();
        return settings switch
        {
            [{ Kind: "SGD", Dampening: 0, Maximize: false, Nesterov: false } s] => new Sgd
            {
                Momentum = s.Momentum,
                WeightDecay = s.WeightDecay,
            },
            [{ IsAdam: true, AmsGrad: false, Maximize: false } s] when s.Decoupled || s.WeightDecay == 0 => new AdamW
            {
                Beta1 = s.Beta1,
                Beta2 = s.Beta2,
                Epsilon = s.Eps,
                WeightDecay = s.WeightDecay,
            },
            _ => throw new InfluenceException(
                $"{made.FilePath} was made by "
                    + $"{made.Optimizer}{(settings.Count > 1 ? ", with other settings for some parameters" : string.Empty)}, "
                    + "whose steps cannot be replayed: replays are of SGD without dampening or Nesterov, AdamW, and Adam without weight "
                    + "decay, with one setting for all parameters. Write new Magic { Batches = ..., LearningRates = ..., Update = "
                    + "... } for the nearest of them."
            ),
        };
    }
}
