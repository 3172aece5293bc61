using System.Diagnostics;
using System.Globalization;

namespace Influence.Reports;

/// <summary>
/// What each stage cost: seconds, examples and memory, taken from the progress that long calls report. Hand it to them as their progress;
/// it passes everything on.
/// </summary>
/// <remarks>
/// Times are those of the reports, <see cref="InfluenceProgress.Elapsed"/>: what a call does after its last batch is not in them. Memory is
/// the largest resident size of the process that was seen at a report, libtorch's included; on a device the device's memory is not in it.
/// </remarks>
/// <param name="progress">Whom to tell; null for nobody.</param>
public sealed class CostLog(IProgress<InfluenceProgress>? progress = null) : IProgress<InfluenceProgress>
{
    private readonly Lock _lock = new();
    private readonly List<Stage> _stages = [];
    private readonly Stopwatch _sinceLook = new();
    private long _memory;
    private InfluenceProgress? _last;
    private string _lastPurpose = string.Empty;
    private long _lastAt;

    /// <summary>What is under way, before each stage's own words; empty for nothing. A stage of another purpose is a stage of its
    /// own.</summary>
    public string Purpose { get; set; } = string.Empty;

    /// <summary>The stages so far, in the order of their beginnings.</summary>
    public IReadOnlyList<Stage> Stages
    {
        get
        {
            lock (_lock)
            {
                return [.. _stages];
            }
        }
    }

    /// <summary>Takes a report and passes it on.</summary>
    /// <param name="value">The report.</param>
    public void Report(InfluenceProgress value)
    {
        lock (_lock)
        {
            Add(value);
        }

        progress?.Report(value);
    }

    /// <summary>One line a stage.</summary>
    /// <returns>The lines.</returns>
    public override string ToString() =>
        string.Join(
            Environment.NewLine,
            Stages.Select(s =>
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{s.Name}: {s.Seconds:0.00} s, {s.Done:N0} done, {s.PeakMemory / 1048576.0:N0} MB"
                )
            )
        );

    private void Add(InfluenceProgress value)
    {
        var name = Purpose.Length == 0 ? value.Stage : $"{Purpose}: {value.Stage}";

        // A call goes on where it began before the last report, and neither its time nor its count runs backwards; else it is another one.
        var now = Stopwatch.GetTimestamp();
        var continues =
            _last is { } last
            && _lastPurpose == Purpose
            && last.Elapsed <= value.Elapsed
            && last.Done <= value.Done
            && Stopwatch.GetElapsedTime(_lastAt, now) < value.Elapsed;
        var before = continues ? _last!.Value : default;
        (_last, _lastPurpose, _lastAt) = (value, Purpose, now);
        if (!_sinceLook.IsRunning || _sinceLook.ElapsedMilliseconds > 20)
        {
            _memory = Environment.WorkingSet;
            _sinceLook.Restart();
        }

        var at = _stages.FindIndex(s => s.Name == name);
        if (at < 0)
        {
            _stages.Add(new Stage(name, 0, 0, 0));
            at = _stages.Count - 1;
        }

        var stage = _stages[at];
        _stages[at] = stage with
        {
            Seconds = stage.Seconds + (value.Elapsed - before.Elapsed).TotalSeconds,
            Done = stage.Done + Math.Max(0, value.Done - before.Done),
            PeakMemory = Math.Max(stage.PeakMemory, _memory),
        };
    }

    /// <summary>A stage and its cost.</summary>
    /// <param name="Name">What was done.</param>
    /// <param name="Seconds">How long, in all calls of that name.</param>
    /// <param name="Done">Examples, over all passes.</param>
    /// <param name="PeakMemory">Bytes.</param>
    public sealed record Stage(string Name, double Seconds, long Done, long PeakMemory);
}
