using Influence;

namespace Samples;

/// <summary>What is under way: on a terminal a bar for each stage, elsewhere (a file, a pipe) a line for each.</summary>
internal sealed class ConsoleProgress : IProgress<InfluenceProgress>, IDisposable
{
    private readonly IStageDisplay _display = Terminal.IsLive ? new StageBars() : new StageLines();

    /// <summary>What is under way, before each report's own words; empty for nothing.</summary>
    public string Purpose { get; set; } = string.Empty;

    public void Report(InfluenceProgress value)
    {
        // "scoring, checkpoint 2 of 4" is a part of the stage "scoring".
        var comma = value.Stage.IndexOf(", ", StringComparison.Ordinal);
        var name = comma < 0 ? value.Stage : value.Stage[..comma];
        var shown = value.Done >= value.Total ? name : value.Stage;
        _display.Show(new(Purpose, name), value with { Stage = Purpose.Length == 0 ? shown : $"{Purpose}: {shown}" });
    }

    /// <summary>Leaves the bars as they are, so that other output goes below them.</summary>
    public void Clear() => _display.Settle();

    public void Dispose() => Clear();
}

/// <summary>What reports of one kind belong to.</summary>
/// <param name="Purpose">What the sample wants it for.</param>
/// <param name="Name">What the library does.</param>
internal sealed record StageKey(string Purpose, string Name);

/// <summary>How stages are shown.</summary>
internal interface IStageDisplay
{
    void Show(StageKey stage, InfluenceProgress value);

    void Settle();
}
