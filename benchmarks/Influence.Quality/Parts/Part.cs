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
/// <param name="caches">Holds each part's folder of finished trainings.</param>
internal sealed class PartContext(string key, bool quick, string caches)
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();

    public bool Quick { get; } = quick;

    /// <summary>The part's own folder of finished trainings.</summary>
    public string Cache { get; } = Path.Combine(caches, quick ? $"{key}-quick" : key);

    public TimeSpan Elapsed => _clock.Elapsed;

    /// <summary>Another part's context: what that one has trained is found there.</summary>
    public PartContext Of(string part) => new(part, Quick, caches);

    public T Pick<T>(T full, T small) => Quick ? small : full;

    public void Note(string text) =>
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{key} {_clock.Elapsed.TotalSeconds, 7:F1} s: {text}"));
}
