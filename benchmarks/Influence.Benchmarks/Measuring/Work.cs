namespace Influence.Benchmarks.Measuring;

/// <summary>One piece of work that is timed in turn with others.</summary>
/// <param name="Run">Returns the seconds that it took, by name, so that one pass can give several.</param>
/// <param name="MinimumRuns">It is run at least so many times.</param>
/// <param name="Share">Beyond those it rests once it has taken so long in all.</param>
internal sealed record Work(Func<IEnumerable<(string Name, double Seconds)>> Run, int MinimumRuns, TimeSpan Share)
{
    /// <summary>Work that takes part in every round.</summary>
    public static Work Always(Func<IEnumerable<(string Name, double Seconds)>> run) => new(run, 3, TimeSpan.MaxValue);

    /// <summary>Work that may take long: fewer rounds then.</summary>
    public static Work Seldom(Func<IEnumerable<(string Name, double Seconds)>> run, int minimumRuns) =>
        new(run, minimumRuns, TimeSpan.FromSeconds(8));
}
