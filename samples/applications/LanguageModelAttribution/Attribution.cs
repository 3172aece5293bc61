using Influence;

namespace LanguageModelAttribution;

/// <summary>What one method says about every query.</summary>
/// <param name="Method">The method's name.</param>
/// <param name="Top">For each query its ten strongest proponents, strongest first.</param>
internal sealed record Attribution(string Method, IReadOnlyList<RankedExamples> Top)
{
    /// <summary>The proponents whose domain is counted.</summary>
    public const int Counted = 10;

    /// <summary>The proponents that are shown.</summary>
    public const int Shown = 5;

    /// <summary>What each byte of the shown proponents did, by query and the proponent's id.</summary>
    public IReadOnlyDictionary<(int Query, long Id), ByteScores> Bytes { get; init; } = new Dictionary<(int, long), ByteScores>();

    public static Attribution FromScores(string method, InfluenceScores scores) =>
        new(method, [.. Enumerable.Range(0, scores.QueryIds.Count).Select(query => scores.Proponents(query, Counted))]);
}
