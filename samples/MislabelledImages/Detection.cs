namespace MislabelledImages;

/// <summary>How well a ranking by score finds the flipped labels.</summary>
/// <param name="Auc">
/// The probability that a flipped label scores higher than a right one, ties counted half: the area under the ROC curve.
/// </param>
/// <param name="RecallAt10Percent">The share of the flipped labels among the tenth of the images with the highest scores.</param>
/// <param name="RecallAt20Percent">The same for the highest fifth.</param>
internal sealed record Detection(double Auc, double RecallAt10Percent, double RecallAt20Percent)
{
    public static Detection Of(IReadOnlyList<double> scores, IReadOnlyList<bool> isFlipped)
    {
        var order = Enumerable.Range(0, scores.Count).OrderByDescending(i => scores[i]).ToArray();
        return new Detection(AreaUnderRoc(scores, isFlipped, order), Recall(0.1), Recall(0.2));

        double Recall(double share)
        {
            var first = order.Take((int)Math.Round(share * order.Length));
            return (double)first.Count(i => isFlipped[i]) / isFlipped.Count(flipped => flipped);
        }
    }

    /// <summary>The Mann-Whitney statistic over the number of pairs; equal scores share their mean rank.</summary>
    private static double AreaUnderRoc(
        IReadOnlyList<double> scores, IReadOnlyList<bool> isFlipped, int[] descending)
    {
        var (flipped, right, pairsWon) = (0L, 0L, 0.0);
        for (var start = descending.Length - 1; start >= 0;)
        {
            var end = start;
            var (flippedHere, rightHere) = (0L, 0L);
            for (; end >= 0 && scores[descending[end]] == scores[descending[start]]; end--)
            {
                if (isFlipped[descending[end]])
                {
                    flippedHere++;
                }
                else
                {
                    rightHere++;
                }
            }

            pairsWon += flippedHere * (right + (0.5 * rightHere));
            (flipped, right, start) = (flipped + flippedHere, right + rightHere, end);
        }

        return pairsWon / ((double)flipped * right);
    }
}
