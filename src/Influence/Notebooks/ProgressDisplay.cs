using System.Diagnostics;

namespace Influence.Notebooks;

/// <summary>Passes on what is worth showing: the first report, each new stage's first, the last, and between these a few a
/// second.</summary>
/// <param name="show">Shows a first report and returns what updates it; null where nothing can be updated.</param>
internal sealed class ProgressDisplay(Func<InfluenceProgress, Action<InfluenceProgress>?> show) : IProgress<InfluenceProgress>
{
    private static readonly TimeSpan s_betweenUpdates = TimeSpan.FromSeconds(0.2);
    private static readonly TimeSpan s_betweenLines = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private readonly Stopwatch _sinceLast = new();
    private Action<InfluenceProgress>? _update;
    private bool _begun;
    private string? _stage;

    public void Report(InfluenceProgress value)
    {
        lock (_lock)
        {
            if (!_begun)
            {
                _begun = true;
                _update = show(value);
                if (_update is null)
                {
                    Console.WriteLine(value);
                }
            }
            else if (
                value.Done < value.Total
                && _sinceLast.Elapsed < (_update is null ? s_betweenLines : s_betweenUpdates)
                && (_update is null || value.Stage == _stage)
            )
            {
                return;
            }
            else if (_update is null)
            {
                Console.WriteLine(value);
            }
            else
            {
                _update(value);
            }

            _stage = value.Stage;
            _sinceLast.Restart();
        }
    }
}
