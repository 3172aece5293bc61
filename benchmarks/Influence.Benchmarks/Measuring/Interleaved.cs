using System.Diagnostics;

namespace Influence.Benchmarks.Measuring;

/// <summary>
/// Times pieces of work in turn, round by round, so that what disturbs the machine hits them alike. Long ones take part in
/// fewer rounds.
/// </summary>
/// <param name="MaximumRounds">At most so many rounds.</param>
/// <param name="Budget">Beyond their least number of runs, no work begins another after this time.</param>
internal sealed record Interleaved(int MaximumRounds, TimeSpan Budget)
{
    public static Interleaved Full { get; } = new(25, TimeSpan.FromSeconds(45));

    public static Interleaved Quick { get; } = new(1, TimeSpan.Zero);

    /// <param name="works">The pieces, in the order of a round.</param>
    /// <param name="progress">Told the round that begins.</param>
    public Dictionary<string, Samples> Run(IReadOnlyList<Work> works, Action<int> progress)
    {
        var samples = new Dictionary<string, Samples>();
        var spent = new TimeSpan[works.Count];
        var watch = Stopwatch.StartNew();
        for (var round = 1; round <= MaximumRounds; round++)
        {
            int[] due =
            [
                .. Enumerable
                    .Range(0, works.Count)
                    .Where(i => round <= works[i].MinimumRuns || (watch.Elapsed < Budget && spent[i] < works[i].Share)),
            ];
            if (due.Length == 0)
            {
                break;
            }

            progress(round);
            foreach (var i in due)
            {
                var begin = watch.Elapsed;
                foreach (var (name, seconds) in works[i].Run())
                {
                    if (!samples.TryGetValue(name, out var own))
                    {
                        samples.Add(name, own = new Samples());
                    }

                    own.Add(seconds);
                }

                spent[i] += watch.Elapsed - begin;
            }
        }

        return samples;
    }
}
