using System.Diagnostics;

namespace Influence.Gradients;

/// <summary>Counts examples over all checkpoints and passes, and carries the caller's cancellation.</summary>
internal sealed class ProgressReporter(IProgress<InfluenceProgress>? progress, int checkpoints, long examples, CancellationToken token)
{
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private long _passes = 1;
    private long _done;
    private string _stage = "scoring";

    public CancellationToken Token => token;

    public TimeSpan Elapsed => _watch.Elapsed;

    /// <summary>A new checkpoint begins.</summary>
    public void Checkpoint(int number) => _stage = checkpoints == 1 ? "scoring" : $"scoring, checkpoint {number} of {checkpoints}";

    /// <summary>Queries that do not fit the memory budget take several passes over the training examples.</summary>
    public void ExpectPasses(long passes) => _passes = Math.Max(_passes, passes);

    public void Add(int done)
    {
        _done += done;
        progress?.Report(new InfluenceProgress(_stage, _done, Math.Max(_done, examples * checkpoints * _passes), _watch.Elapsed));
    }
}
