using Influence.Numerics;

namespace Influence.Evaluation;

/// <summary>
/// A ranking, highest score first, with a yes or no for each example. Equal scores have no order: whatever would depend on one
/// is the mean over all of them.
/// </summary>
internal sealed class RankedLabels
{
    private readonly bool[] _relevant;
    private readonly int[] _order;
    private readonly int[] _groupEnds;

    public RankedLabels(double[] scores, bool[] relevant)
    {
        _relevant = relevant;
        _order = Ranks.Order(scores);
        Array.Reverse(_order);
        _groupEnds =
        [
            .. Enumerable
                .Range(0, _order.Length)
                .Where(i => i + 1 == _order.Length || !scores[_order[i]].Equals(scores[_order[i + 1]]))
                .Select(i => i + 1),
        ];
    }

    /// <summary>
    /// The probability that a yes scores higher than a no, equal scores counted half: Mann and Whitney's statistic over the
    /// number of pairs. Examples count as often as said.
    /// </summary>
    public double Auc(int[]? counts = null)
    {
        var (won, yes, no) = (0.0, 0.0, 0.0);
        foreach (var (yesHere, noHere) in Groups(counts))
        {
            won += noHere * (yes + (0.5 * yesHere));
            (yes, no) = (yes + yesHere, no + noHere);
        }

        return won / (yes * no);
    }

    /// <summary>The sum over thresholds of the gain in recall times the precision there; equal scores are one threshold.</summary>
    public double AveragePrecision(int[]? counts = null)
    {
        var (sum, yes, all) = (0.0, 0.0, 0.0);
        foreach (var (yesHere, noHere) in Groups(counts))
        {
            (yes, all) = (yes + yesHere, all + yesHere + noHere);
            sum += yesHere == 0 ? 0 : yesHere * yes / all;
        }

        return sum / yes;
    }

    /// <summary>How many yes are among the first so many (of a tie the expected share).</summary>
    public double Found(double first, int[]? counts = null)
    {
        var found = 0.0;
        foreach (var (yesHere, noHere) in Groups(counts))
        {
            var here = yesHere + noHere;
            if (first <= here)
            {
                return found + (here == 0 ? 0 : yesHere * first / here);
            }

            (found, first) = (found + yesHere, first - here);
        }

        return found;
    }

    /// <summary>The expected value of one over the rank of the first yes; 0 where there is none.</summary>
    public double ReciprocalRank()
    {
        var above = 0.0;
        foreach (var (yes, no) in Groups(counts: null))
        {
            if (yes > 0)
            {
                // The first yes of a random order is at x with probability yes/n, then times (n - x - yes + 1)/(n - x) a step.
                var (n, probability, sum) = (yes + no, yes / (yes + no), 0.0);
                for (var x = 1; x <= no + 1; x++)
                {
                    sum += probability / (above + x);
                    probability *= (n - x - yes + 1) / (n - x);
                }

                return sum;
            }

            above += no;
        }

        return 0;
    }

    private IEnumerable<(double Yes, double No)> Groups(int[]? counts)
    {
        var start = 0;
        foreach (var end in _groupEnds)
        {
            var (yes, no) = (0, 0);
            for (var i = start; i < end; i++)
            {
                var count = counts?[_order[i]] ?? 1;
                (yes, no) = _relevant[_order[i]] ? (yes + count, no) : (yes, no + count);
            }

            yield return (yes, no);
            start = end;
        }
    }
}
