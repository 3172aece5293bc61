using System.Diagnostics;
using Influence.Numerics;

namespace Influence.Gradients;

/// <summary>Counts examples over all checkpoints and passes, measures what the call costs, and carries the caller's cancellation.</summary>
internal sealed class ProgressReporter(
    IProgress<InfluenceProgress>? progress,
    string what,
    int checkpoints,
    long examples,
    CancellationToken token
) : IDisposable
{
    private readonly CostMeter _cost = CostMeter.Begin(what);
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private long _passes = 1;
    private long _done;
    private int _checkpoint = 1;

    public CancellationToken Token => token;

    public TimeSpan Elapsed => _watch.Elapsed;

    private string Stage => checkpoints == 1 ? what : $"{what}, checkpoint {_checkpoint} of {checkpoints}";

    /// <summary>A new checkpoint begins.</summary>
    public void Checkpoint(int number) => _checkpoint = number;

    /// <summary>Queries that do not fit the memory budget take several passes over the training examples.</summary>
    public void ExpectPasses(long passes) => _passes = Math.Max(_passes, passes);

    /// <summary>Adds, and stops where that is asked for.</summary>
    public void AddOrCancel(int done)
    {
        Add(done);
        token.ThrowIfCancellationRequested();
    }

    public void Add(int done)
    {
        _done += done;
        using var callback = ModelInUse.CallingBack("the progress callback");
        progress?.Report(new InfluenceProgress(Stage, _done, Math.Max(_done, examples * checkpoints * _passes), _watch.Elapsed));
    }

    public void Dispose() => _cost.Dispose();
}
