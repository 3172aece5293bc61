using Influence.Benchmarks.Measuring;
using Influence.Numerics;

namespace Influence.Benchmarks.Profiling;

/// <summary>A call that is run again and again; the stages of its fastest run are kept.</summary>
internal sealed class ProfiledCall(string name, Action call)
{
    public string Name => name;

    public int Rounds { get; private set; }

    /// <summary>Seconds of the fastest run.</summary>
    public double Fastest { get; private set; } = double.PositiveInfinity;

    public Spans.Tally? Stages { get; private set; }

    public IEnumerable<(string Name, double Seconds)> Run()
    {
        Spans.Tally stages;
        using (var spans = Spans.Watch(ThreadClock.Now))
        {
            call();
            stages = spans.Root;
        }

        Rounds++;
        var seconds = stages.SecondsInAll;
        if (seconds < Fastest)
        {
            (Fastest, Stages) = (seconds, stages);
        }

        return [(name, seconds)];
    }
}
