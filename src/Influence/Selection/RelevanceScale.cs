using Influence.Numerics;

namespace Influence.Selection;

/// <summary>On which scale scores are weighed against diversity.</summary>
public enum RelevanceScale
{
    /// <summary>
    /// The rank among the candidates, from 0 for the lowest score to 1 for the highest; ties share. The scores' unit, sign and tails
    /// do not count, so a weight means the same for all scores.
    /// </summary>
    Rank,

    /// <summary>(s - min) / (max - min): from 0 to 1, and one outlier presses all others together.</summary>
    UnitRange,

    /// <summary>The scores as they are.</summary>
    Raw,
}

/// <summary>Scores on a scale.</summary>
internal static class ScaledRelevance
{
    /// <summary>By position; 1 everywhere where there are no scores, and where all are equal on a scale from 0 to 1.</summary>
    public static double[] Of(SelectionPool pool, ScoreAggregation aggregation, RelevanceScale scale)
    {
        var values = pool.Scores is null ? [.. Enumerable.Repeat(1.0, pool.Count)] : Relevance.Of(pool, aggregation);
        var (lowest, highest) = (values.Min(), values.Max());
        return scale switch
        {
            RelevanceScale.Raw => values,
            _ when lowest == highest => Array.ConvertAll(values, _ => 1.0),
            RelevanceScale.UnitRange => Array.ConvertAll(values, v => (v - lowest) / (highest - lowest)),
            _ => Array.ConvertAll(Ranks.Of(values), rank => (rank - 1) / (values.Length - 1)),
        };
    }
}
