using Influence;

namespace Samples;

/// <summary>A line for each stage once it is done, and one now and then while it takes long.</summary>
internal sealed class StageLines : IStageDisplay
{
    private static readonly TimeSpan s_worthALine = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(15);

    private (StageKey Stage, TimeSpan At)? _last;

    public void Show(StageKey stage, InfluenceProgress value)
    {
        var before = _last is { } last && last.Stage == stage && last.At <= value.Elapsed ? last.At : TimeSpan.Zero;
        var isDone = value.Done >= value.Total;
        if (isDone && value.Elapsed >= s_worthALine)
        {
            Console.WriteLine($"{value.Stage}: {value.Done:N0} in {value.Elapsed.TotalSeconds:0.0} s");
        }
        else if (!isDone && value.Elapsed - before >= s_interval)
        {
            Console.WriteLine(value);
            _last = (stage, value.Elapsed);
        }
    }

    public void Settle() { }
}
