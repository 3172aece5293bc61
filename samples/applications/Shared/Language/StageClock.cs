using System.Diagnostics;

namespace Samples.Language;

/// <summary>How long each stage took.</summary>
internal sealed class StageClock
{
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private readonly List<(string Stage, TimeSpan Time)> _stages = [];

    public TimeSpan Total => TimeSpan.FromTicks(_stages.Sum(stage => stage.Time.Ticks));

    /// <summary>Ends a stage that began where the one before it ended.</summary>
    public void Lap(string stage)
    {
        _stages.Add((stage, _watch.Elapsed));
        _watch.Restart();
    }

    public override string ToString() =>
        $"{string.Join(", ", _stages.Select(s => $"{s.Stage} {s.Time.TotalSeconds:0.0} s"))}; together {Total.TotalSeconds:0.0} s";
}
