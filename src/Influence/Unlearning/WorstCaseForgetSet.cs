namespace Influence.Unlearning;

/// <summary>
/// The examples that are hardest to forget: a set whose own loss rises least when all of it is left out, by influence scores of the
/// candidates on one another,
/// <code>minimise over S of the given size   sum over i and j in S of s(i, j)</code>
/// A method that forgets these forgets others: what it does on random sets is its mean case.
/// </summary>
/// <remarks>
/// The rise of the loss of i without j is s(i, j) times the scores' leave-one-out factor, and of a set the sum, to first order. Greedy
/// choice of the next example that adds least, then exchanges of one inside for one outside as long as any lowers the sum: the lowest of
/// the local minima that the starts lead to. Fan et al., "Challenging Forgets", ECCV 2024, search the same set by unlearning in an inner
/// loop; here influence stands for that loop. Cost: N^2 numbers, and for each start N for each pick and k N for each exchange.
/// </remarks>
public sealed record WorstCaseForgetSet
{
    /// <summary>From how many first picks the search begins: those that add least on their own. The lowest sum is taken.</summary>
    /// <value>5.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Starts
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 5;

    /// <summary>The most exchanges from one start.</summary>
    /// <value>1,000.</value>
    /// <exception cref="InfluenceException">Negative.</exception>
    public int MaximumExchanges
    {
        get;
        init => field = Check.AtLeast(value, 0);
    } = 1_000;

    /// <summary>Finds the set.</summary>
    /// <param name="scores">Scores of the candidates on themselves: the same ids as queries and as training examples. They stay the
    /// caller's.</param>
    /// <param name="count">How many examples.</param>
    /// <returns>Their ids, ascending.</returns>
    /// <exception cref="InfluenceException">Ids that differ, scores that are not finite, or a count that is not below the number of
    /// candidates.</exception>
    public IReadOnlyList<long> Find(InfluenceScores scores, int count)
    {
        ArgumentNullException.ThrowIfNull(scores);
        var n = scores.TrainIds.Count;
        if (n != scores.QueryIds.Count || scores.TrainIds.Except(scores.QueryIds).Any() || count < 1 || count >= n)
        {
            throw new InfluenceException(
                "Scores of candidates on one another are expected, with the same ids as queries and as training examples, and a count "
                    + $"from 1 to one less than there are; found {scores.QueryIds.Count} queries, {n} training "
                    + $"examples and the count {count}."
            );
        }

        var pairs = Pairs(scores);
        var best = Enumerable
            .Range(0, n)
            .OrderBy(i => pairs[i, i])
            .Take(Starts)
            .Select(first => Search(pairs, first, count))
            .MinBy(found => found.Sum)
            .Inside;
        return [.. Enumerable.Range(0, n).Where(i => best[i]).Select(i => scores.TrainIds[i]).Order()];
    }

    private (double Sum, bool[] Inside) Search(double[,] pairs, int first, int count)
    {
        var n = pairs.GetLength(0);
        var inside = new bool[n];
        var added = Enumerable.Range(0, n).Select(i => pairs[i, i] / 2).ToArray(); // what each adds to the sum, or would
        Change(first, 1);
        for (var k = 1; k < count; k++)
        {
            Change(Enumerable.Range(0, n).Where(i => !inside[i]).MinBy(i => added[i]), 1);
        }

        for (var exchange = 0; exchange < MaximumExchanges; exchange++)
        {
            var (gain, leave, enter) = (-1e-12 * added.Sum(Math.Abs), -1, -1);
            for (var i = 0; i < n; i++)
            {
                for (var j = 0; j < n && inside[i]; j++)
                {
                    // Without i, j adds less what the two share; i took away what it shares with itself once too often.
                    var here = added[j] - pairs[i, j] - (added[i] - pairs[i, i]);
                    (gain, leave, enter) = !inside[j] && here < gain ? (here, i, j) : (gain, leave, enter);
                }
            }

            if (leave < 0)
            {
                break;
            }

            Change(leave, -1);
            Change(enter, 1);
        }

        var sum = 0.0;
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < n; j++)
            {
                sum += inside[i] && inside[j] ? pairs[i, j] / 2 : 0;
            }
        }

        return (sum, inside);

        void Change(int i, int sign)
        {
            inside[i] = sign > 0;
            for (var j = 0; j < n; j++)
            {
                added[j] += sign * pairs[i, j];
            }
        }
    }

    /// <summary>s(i, j) + s(j, i), by training position.</summary>
    private static double[,] Pairs(InfluenceScores scores)
    {
        var n = scores.TrainIds.Count;
        int[] row = [.. scores.TrainIds.Select(scores.RowOf)];
        var pairs = new double[n, n];
        for (var i = 0; i < n; i++)
        {
            var values = scores.ForQuery(row[i]).Values;
            for (var j = 0; j < n; j++)
            {
                pairs[i, j] += values[j];
                pairs[j, i] += values[j];
            }
        }

        return pairs.Cast<double>().All(double.IsFinite)
            ? pairs
            : throw new InfluenceException(
                "Scores are finite numbers here; some are NaN or infinite. Look at them with scores.ToString()."
            );
    }
}
