using System.Globalization;
using Influence.Formats;
using Microsoft.Extensions.Logging;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// Saves checkpoints as a training loop runs: one line after each optimizer step. A later process finds them again with
/// <see cref="Find"/>. A file is there whole or not at all, whenever the process dies.
/// </summary>
/// <remarks>
/// TracIn wants three to ten checkpoints, spread over the phase in which the loss still falls (Pruthi et al., 2020).
/// </remarks>
public sealed partial class CheckpointRecorder : IDisposable
{
    private const string Pattern = "step-*.safetensors";
    private readonly List<Checkpoint> _checkpoints;
    private readonly RecorderLock _lock;
    private bool _disposed;
    private long _lastSaved;

    /// <summary>Opens a folder for a training run.</summary>
    /// <param name="folder">The folder; it is made when missing, and must be writable.</param>
    /// <param name="resume">
    /// Go on with the run whose checkpoints are there already: steps are counted on from the last one. Otherwise a folder
    /// with checkpoints is refused, so that two runs do not mix.
    /// </param>
    /// <param name="overwrite">Begin anew: the checkpoints of an earlier run in this folder are deleted, other files are not.</param>
    /// <exception cref="InfluenceException">
    /// The folder cannot be written, holds another run's checkpoints, or another recorder is at it; or both <paramref name="resume"/> and
    /// <paramref name="overwrite"/> are asked for.
    /// </exception>
    public CheckpointRecorder(string folder, bool resume = false, bool overwrite = false)
    {
        ArgumentNullException.ThrowIfNull(folder);
        if (resume && overwrite)
        {
            throw new InfluenceException("A run is either gone on with or begun anew: write resume: true or overwrite: true, not both.");
        }

        Folder = folder;

        // A folder that cannot be written is found now, not after an hour of training.
        if (File.Exists(folder))
        {
            throw new InfluenceException($"{folder} is a file; checkpoints go to a folder of their own.");
        }

        _lock = RecorderLock.Take(folder);
        try
        {
            PartialFile.Sweep(folder);
            if (overwrite)
            {
                foreach (var old in Directory.EnumerateFiles(folder, Pattern))
                {
                    File.Delete(old);
                }
            }

            _checkpoints = [.. Find(folder)];
            if (_checkpoints.Count > 0 && !resume)
            {
                throw new InfluenceException(
                    $"{folder} already holds {_checkpoints.Count} checkpoints (the last at step {_checkpoints[^1].Step}). Write new "
                        + "CheckpointRecorder(folder, resume: true) to go on with that run, overwrite: true to begin anew, or choose "
                        + "another folder."
                );
            }

            StepCount = _checkpoints.Count == 0 ? 0 : _checkpoints[^1].Step;
            SweepSteps(folder, resume, overwrite, StepCount);
        }
        catch
        {
            _lock.Dispose();
            throw;
        }

        _lastSaved = _checkpoints.Count == 0 ? -1 : StepCount;
    }

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>A checkpoint every so many optimizer steps.</summary>
    /// <value>100.</value>
    public int EverySteps
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 100;

    /// <summary>Where each saved checkpoint is told.</summary>
    /// <value>None.</value>
    public ILogger? Logger { get; init; }

    /// <summary>Optimizer steps so far.</summary>
    public long StepCount { get; private set; }

    /// <summary>The checkpoints so far, in the order of their steps.</summary>
    public IReadOnlyList<Checkpoint> Checkpoints => _checkpoints;

    /// <summary>Counts an optimizer step and saves a checkpoint when one is due. Call it after <c>optimizer.step()</c>.</summary>
    /// <param name="model">The model that is being trained.</param>
    /// <param name="optimizers">
    /// Its optimizer, or all of them where several train it: each parameter's learning rate is recorded, with its momentum and weight
    /// decay. A parameter that none of them holds, or that is frozen, has the rate 0: no step moves it.
    /// </param>
    /// <exception cref="InfluenceException">The optimizers hold none of the model's parameters, the checkpoint cannot be written, or the
    /// model holds NaN; earlier ones are untouched.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public void Step(nn.Module model, params optim.Optimizer[] optimizers)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        StepCount++;
        if (StepCount % EverySteps == 0)
        {
            Save(model, optimizers);
        }
    }

    /// <summary>
    /// Saves a checkpoint now, at the end of training for instance; once per step. Call it before the scheduler's last step
    /// where that one ends at a learning rate of zero: a checkpoint weighs as much as its learning rate.
    /// </summary>
    /// <param name="model">The model.</param>
    /// <param name="optimizers">Its optimizer, or all of them where several train it.</param>
    /// <exception cref="InfluenceException">The optimizers hold none of the model's parameters, the checkpoint cannot be written, or the
    /// model holds NaN; earlier ones are untouched.</exception>
    /// <exception cref="ObjectDisposedException">The recorder is disposed.</exception>
    public void Save(nn.Module model, params optim.Optimizer[] optimizers)
    {
        ArgumentNullException.ThrowIfNull(model);
        CheckOptimizers(optimizers);
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (StepCount == _lastSaved)
        {
            return;
        }

        var path = Path.Combine(Folder, string.Create(CultureInfo.InvariantCulture, $"step-{StepCount:D9}.safetensors"));
        if (File.Exists(path) && _checkpoints.All(c => c.Step != StepCount))
        {
            throw new InfluenceException(
                $"{path} is there already, and is not this run's: another recorder writes to the folder, on "
                    + $"another machine perhaps. Give each run a folder of its own."
            );
        }

        var saved = Checkpoint.Save(path, model, optimizers, StepCount);
        _checkpoints.RemoveAll(c => c.Step == StepCount);
        _checkpoints.Add(saved);
        _lastSaved = StepCount;
        Log.CheckpointSaved(Logger, path, StepCount);
    }

    /// <summary>The checkpoints that a recorder left in a folder, in the order of their steps.</summary>
    /// <param name="folder">The folder.</param>
    /// <returns>The checkpoints; files that were still being written are not among them.</returns>
    /// <exception cref="InfluenceException">The folder is missing, or a file is truncated or something else.</exception>
    public static IReadOnlyList<Checkpoint> Find(string folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        if (!Directory.Exists(folder))
        {
            throw new InfluenceException($"There is no folder {folder}.");
        }

        return [.. Directory.EnumerateFiles(folder, Pattern).Select(path => Checkpoint.FromFile(path)).OrderBy(c => c.Step)];
    }

    /// <summary>Lets go of the folder, for another recorder to go on with the run. Every checkpoint is complete when <see cref="Save"/>
    /// returns.</summary>
    public void Dispose()
    {
        _disposed = true;
        _steps?.Dispose();
        _lock.Dispose();
    }
}
