namespace Influence.Selection;

/// <summary>
/// Arms with rewards: the ones to pull next have the highest mean / sigma + alpha sqrt(2 ln(sum of T) / T), with T an arm's
/// pulls and sigma the spread of the arms' means, so that alpha is of the order of 1 whatever the rewards' unit.
/// </summary>
internal sealed class UpperConfidenceBandit(int arms, double alpha)
{
    private readonly double[] _rewards = new double[arms];
    private readonly double[] _weights = new double[arms];
    private readonly long[] _pulls = new long[arms];
    private readonly bool[] _removed = new bool[arms];
    private long _total;

    /// <summary>Whether there is an arm left.</summary>
    public bool Empty => Array.TrueForAll(_removed, removed => removed);

    /// <summary>alpha sqrt(2 ln(total) / pulls).</summary>
    public static double Bonus(double alpha, long total, long pulls) => alpha * Math.Sqrt(2 * Math.Log(total) / pulls);

    /// <summary>The weighted mean of the rewards an arm had, its own and its neighbours'; NaN before the first.</summary>
    public double Mean(int arm) => _rewards[arm] / _weights[arm];

    /// <summary>Counts a pull and its reward.</summary>
    public void Pull(int arm, double reward)
    {
        _pulls[arm]++;
        _total++;
        Share(arm, reward, 1);
    }

    /// <summary>Counts a neighbour's reward with a weight below 1, and no pull.</summary>
    public void Share(int arm, double reward, double weight)
    {
        _rewards[arm] += weight * reward;
        _weights[arm] += weight;
    }

    /// <summary>Takes an arm out of the game.</summary>
    public void Remove(int arm) => _removed[arm] = true;

    /// <summary>The arms to pull next, highest first; ties to the lowest. Every arm was pulled before.</summary>
    public int[] Top(int count)
    {
        var sigma = Spread();
        return
        [
            .. Enumerable
                .Range(0, _rewards.Length)
                .Where(arm => !_removed[arm])
                .Select(arm => (Arm: arm, Score: (Mean(arm) / sigma) + Bonus(alpha, _total, _pulls[arm])))
                .OrderByDescending(arm => arm.Score)
                .ThenBy(arm => arm.Arm)
                .Take(count)
                .Select(arm => arm.Arm),
        ];
    }

    /// <summary>Each arm counts once: counted by pulls, the spread would vanish as the best arm is pulled most.</summary>
    private double Spread()
    {
        var means = Enumerable.Range(0, _rewards.Length).Select(Mean).ToArray();
        var mean = means.Average();
        var spread = Math.Sqrt(means.Average(m => (m - mean) * (m - mean)));
        return spread > 0 ? spread : 1;
    }
}
