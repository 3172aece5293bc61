using System.Diagnostics;
using System.Globalization;
using Influence.Quality.Reporting;

namespace Influence.Quality.Parts;

/// <summary>A published set-up.</summary>
/// <param name="Key">Its name on the command line.</param>
/// <param name="Title">Data, model and sizes.</param>
/// <param name="Run">Trains, scores and evaluates.</param>
internal sealed record Part(string Key, string Title, Func<PartContext, Findings> Run);

/// <summary>What a part is run with.</summary>
/// <param name="key">The part's name.</param>
/// <param name="quick">Whether it is the small version.</param>
/// <param name="cache">The part's own folder of finished trainings.</param>
internal sealed class PartContext(string key, bool quick, string cache)
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();

    public bool Quick { get; } = quick;

    public string Cache { get; } = cache;

    public TimeSpan Elapsed => _clock.Elapsed;

    public T Pick<T>(T full, T small) => Quick ? small : full;

    public void Note(string text) =>
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{key} {_clock.Elapsed.TotalSeconds, 7:F1} s: {text}"));
}
