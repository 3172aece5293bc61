using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

public sealed partial class CheckpointRecorder
{
    private const string StepsName = "trajectory.steps";
    private StepsFile? _steps;

    /// <summary>
    /// Counts an optimizer step whose batch is known, keeps the ids and the learning rates in force, and saves a checkpoint when one is
    /// due. Call it after <c>optimizer.step()</c> and before the schedule's step, in place of the form without ids.
    /// </summary>
    /// <remarks>
    /// The steps go to <c>trajectory.steps</c> in the folder, two to three bytes an id, each handed to the system before the call returns:
    /// a process that is killed loses none. A run that is gone on with drops the steps after its last checkpoint, which it does again.
    /// </remarks>
    /// <param name="model">The model that is being trained.</param>
    /// <param name="batchIds">The ids of the step's batch, in its order.</param>
    /// <param name="optimizers">Its optimizer, or all of them where several train it.</param>
    /// <exception cref="InfluenceException">No id, the steps or the checkpoint cannot be written, or what <see cref="Save"/>
    /// refuses.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    /// <example>
    /// <code>
    /// recorder.Step(model, batch.Ids, optimizer);
    /// ...
    /// using var scores = Magic.FromRun("checkpoints").Score(task, train, queries);
    /// </code>
    /// </example>
    public void Step(nn.Module model, IReadOnlyList<long> batchIds, params optim.Optimizer[] optimizers)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentNullException.ThrowIfNull(batchIds);
        CheckOptimizers(optimizers);
        if (batchIds.Count == 0)
        {
            throw new InfluenceException("A step's batch has at least one id; found none.");
        }

        _steps ??= StepsFile.Append(Path.Combine(Folder, StepsName), StepCount);
        _steps.Add(StepCount + 1, [.. optimizers.SelectMany(o => o.ParamGroups).Select(g => g.LearningRate)], batchIds);
        Step(model, optimizers);
    }

    /// <summary>The steps that a recorder left in a folder, also while it is at it.</summary>
    /// <param name="folder">The folder.</param>
    /// <returns>The steps in their order; none where the batches were not told to the recorder.</returns>
    /// <exception cref="InfluenceException">The folder is missing, or the file is damaged or something else.</exception>
    public static IReadOnlyList<StepRow> FindSteps(string folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        if (!Directory.Exists(folder))
        {
            throw new InfluenceException($"There is no folder {folder}.");
        }

        var path = Path.Combine(folder, StepsName);
        return File.Exists(path) ? [.. StepsFile.Read(path).Select(s => new StepRow(s.Step, s.Ids, s.Rates))] : [];
    }

    /// <summary>What is there of an earlier run: none of it stays where the run begins anew, and of one that goes on what its last
    /// checkpoint has.</summary>
    private static void SweepSteps(string folder, bool resume, bool overwrite, long last)
    {
        var path = Path.Combine(folder, StepsName);
        if (!File.Exists(path))
        {
            return;
        }

        if (overwrite)
        {
            File.Delete(path);
            return;
        }

        if (!resume && FindSteps(folder) is { Count: > 0 } steps)
        {
            throw new InfluenceException(
                $"{folder} already holds {steps.Count} steps of a run without a checkpoint. Write new CheckpointRecorder(folder, "
                    + "overwrite: true) to begin anew, or choose another folder."
            );
        }

        StepsFile.Append(path, last).Dispose();
    }

    private static void CheckOptimizers(optim.Optimizer[] optimizers)
    {
        ArgumentNullException.ThrowIfNull(optimizers);
        if (optimizers.Length == 0 || optimizers.Contains(null!))
        {
            throw new ArgumentNullException(
                nameof(optimizers),
                "The optimizer whose learning rates are recorded is missing: write recorder.Save(model, optimizer)."
            );
        }
    }

    /// <summary>One optimizer step of a run.</summary>
    /// <param name="Step">From 1.</param>
    /// <param name="Ids">Of its batch, in the batch's order.</param>
    /// <param name="LearningRates">In force in the step, one for each parameter group of each optimizer.</param>
    public sealed record StepRow(long Step, IReadOnlyList<long> Ids, IReadOnlyList<double> LearningRates);
}
