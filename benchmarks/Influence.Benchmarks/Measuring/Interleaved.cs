using System.Diagnostics;

namespace Influence.Benchmarks.Measuring;

/// <summary>
/// Times pieces of work in turn, round by round, so that what disturbs the machine hits them alike. The first round only
/// warms up.
/// </summary>
/// <param name="MinimumRounds">At least so many rounds count.</param>
/// <param name="MaximumRounds">And at most so many.</param>
/// <param name="Budget">No further round begins after this time once the least number is reached.</param>
internal sealed record Interleaved(int MinimumRounds, int MaximumRounds, TimeSpan Budget)
{
    public static Interleaved Full { get; } = new(3, 25, TimeSpan.FromSeconds(45));

    public static Interleaved Quick { get; } = new(1, 1, TimeSpan.Zero);

    /// <param name="works">Each returns the seconds that it took, by name, so that one pass can give several.</param>
    /// <param name="progress">Told the round that begins.</param>
    public Dictionary<string, Samples> Run(IReadOnlyList<Func<IEnumerable<(string Name, double Seconds)>>> works, Action<int> progress)
    {
        var samples = new Dictionary<string, Samples>();
        var watch = new Stopwatch();
        for (var round = 0; round <= MaximumRounds; round++)
        {
            if (round > MinimumRounds && watch.Elapsed > Budget)
            {
                break;
            }

            progress(round);
            foreach (var work in works)
            {
                foreach (var (name, seconds) in work())
                {
                    if (round > 0)
                    {
                        if (!samples.TryGetValue(name, out var own))
                        {
                            samples.Add(name, own = new Samples());
                        }

                        own.Add(seconds);
                    }
                }
            }

            watch.Start();
        }

        return samples;
    }
}
