namespace Influence.Selection;

/// <summary>
/// DELT's folding: with the examples sorted by score, lowest first, fold l = 0, ..., L - 1 holds those whose place in that
/// order leaves the remainder l when divided by L, and the folds follow one another. The curriculum from low to high scores
/// is so gone through L times within an epoch, and no score is forgotten for long.
/// </summary>
/// <remarks>
/// Ties go to the lowest id. L = 1 is the plain sort. Cost: one sort. Reference: "Data Efficacy for Language Model Training",
/// 2025, its section on folding and its code, which counts folds from 0 as here; the paper's formula counts from 1, which
/// begins with another fold.
/// </remarks>
public sealed record Folding
{
    /// <summary>L.</summary>
    /// <value>3, the paper's.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Folds
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 3;

    /// <summary>Whether the highest score comes first.</summary>
    /// <value>False: the lowest.</value>
    public bool HighestFirst { get; init; }

    /// <summary>Orders examples.</summary>
    /// <param name="scores">One finite score for each, for example learnability times quality.</param>
    /// <returns>An order of one epoch.</returns>
    /// <exception cref="InfluenceException">Scores that are not finite, or more folds than examples.</exception>
    public ExampleOrder Order(ExampleScores scores)
    {
        using var pool = new SelectionPool(scores);
        if (Folds > pool.Count)
        {
            throw new InfluenceException($"There are {Folds} folds for {pool.Count} examples: write at most as many folds as examples.");
        }

        var sorted = Relevance.Sorted(Relevance.Row(pool, 0), HighestFirst);
        var folded = Enumerable.Range(0, Folds).SelectMany(fold => sorted.Where((_, place) => place % Folds == fold));
        return ExampleOrder.Of([folded.Select(position => pool.Ids[position])], $"Folded {Folds} times by {scores.Title}");
    }
}
