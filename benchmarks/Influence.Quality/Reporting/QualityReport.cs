namespace Influence.Quality.Reporting;

/// <summary>Everything that one part found; the JSON file is this record.</summary>
internal sealed record QualityReport(
    string Date,
    string Key,
    string Title,
    bool Quick,
    IReadOnlyDictionary<string, string> Machine,
    Findings Findings
)
{
    /// <summary>The whole part, trainings that were not found in the cache included.</summary>
    public double Seconds { get; init; }
}

/// <summary>What a part hands back.</summary>
/// <param name="Settings">Every setting and seed, by name.</param>
/// <param name="Facts">What was seen on the way: accuracies, noise ceiling, numbers of runs.</param>
/// <param name="Times">Seconds of the trainings, by name; of cached ones those that they took when they were made.</param>
/// <param name="Results">The figures.</param>
/// <param name="Published">What others reached on the set-up.</param>
internal sealed record Findings(
    IReadOnlyDictionary<string, string> Settings,
    IReadOnlyDictionary<string, string> Facts,
    IReadOnlyDictionary<string, double> Times,
    IReadOnlyList<Result> Results,
    IReadOnlyList<Published> Published
)
{
    /// <summary>What a part found that is no figure of a method.</summary>
    public IReadOnlyList<NamedTable> Tables { get; init; } = [];

    /// <summary>One table, of a part that judges no method.</summary>
    /// <param name="settings">What was measured on.</param>
    /// <param name="table">What was found.</param>
    public static Findings Of(IReadOnlyDictionary<string, string> settings, NamedTable table) =>
        new(settings, new Dictionary<string, string>(), new Dictionary<string, double>(), [], []) { Tables = [table] };
}

/// <summary>A table.</summary>
/// <param name="Title">Its heading.</param>
/// <param name="About">How to read it.</param>
/// <param name="Rows">The head first.</param>
internal sealed record NamedTable(string Title, string About, IReadOnlyList<IReadOnlyList<string>> Rows)
{
    public override string ToString()
    {
        var table = new TextTable([.. Rows[0]]);
        foreach (var row in Rows.Skip(1))
        {
            table.Add([.. row]);
        }

        return $"## {Title}\n\n{About}\n\n{table}";
    }
}

/// <summary>One figure of one method.</summary>
/// <param name="Metric">For example LDS.</param>
/// <param name="Method">The method, with what sets it apart.</param>
/// <param name="Value">The figure.</param>
/// <param name="Lower">The lower end of its interval.</param>
/// <param name="Upper">The upper end.</param>
/// <param name="Queries">The number of queries or examples that it is over.</param>
/// <param name="Damping">The damping, with a word where it was the first or last that was tried; empty where there is none.</param>
/// <param name="Sweep">The figure on the held-out tenth at each damping that was tried.</param>
/// <param name="Seconds">Fit and scores of the reported queries, without the search for the damping.</param>
internal sealed record Result(
    string Metric,
    string Method,
    double Value,
    double Lower,
    double Upper,
    int Queries,
    string Damping,
    IReadOnlyList<SweepPoint> Sweep,
    double Seconds
)
{
    /// <summary>The same against the first seed's retrainings alone; not a number where that has no meaning.</summary>
    public double OneSeed { get; init; } = double.NaN;

    /// <summary>
    /// The query loss difference: by how much a query's loss rises without the hundredth that the method calls strongest; not a number
    /// where it was not measured.
    /// </summary>
    public double Qld { get; init; } = double.NaN;

    /// <summary>The lower end of its interval, over queries.</summary>
    public double QldLower { get; init; } = double.NaN;

    /// <summary>The upper end.</summary>
    public double QldUpper { get; init; } = double.NaN;
}

/// <summary>One damping that was tried.</summary>
internal sealed record SweepPoint(string Damping, double Value);

/// <summary>A figure of others.</summary>
/// <param name="Metric">As in <see cref="Result"/>.</param>
/// <param name="Method">The method.</param>
/// <param name="Value">The figure.</param>
/// <param name="Source">Where it is from.</param>
internal sealed record Published(string Metric, string Method, double Value, string Source);
