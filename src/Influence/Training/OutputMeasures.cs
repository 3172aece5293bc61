namespace Influence.Training;

/// <summary>
/// What a step's logits say about each example, averaged over its positions. With u the logits of a position, y its label,
/// and everything about the other classes taken relative to the largest of them, nothing cancels for an example that is
/// fitted well:
/// <code>
/// d = u_y - log sum_{j != y} exp u_j,   p_y = sigmoid(d),   loss = softplus(-d),   margin = u_y - max_{j != y} u_j
/// EL2N = ||softmax(u) - onehot(y)|| = (1 - p_y) sqrt(1 + sum_{j != y} r_j^2),   r = softmax of the other classes alone
/// </code>
/// </summary>
internal sealed class OutputMeasures(int count)
{
    /// <summary>In <see cref="Positions"/>: a label is no class.</summary>
    public const int BadLabel = -1;

    public double[] Probability { get; } = new double[count];

    public double[] Margin { get; } = new double[count];

    public double[] Loss { get; } = new double[count];

    public double[] El2n { get; } = new double[count];

    /// <summary>The share of an example's positions whose label has the one highest logit.</summary>
    public double[] CorrectShare { get; } = new double[count];

    /// <summary>How many positions of an example count; 0 where none does.</summary>
    public int[] Positions { get; } = new int[count];

    public int Count { get; } = count;

    /// <summary>Whether everything about an example is a number.</summary>
    public bool IsFinite(int i) => double.IsFinite(Probability[i] + Margin[i] + Loss[i] + El2n[i]);

    /// <summary>A plain loop: for few classes quicker than a dozen tensor operations.</summary>
    /// <param name="logits"><c>[B, T, C]</c>, row-major.</param>
    /// <param name="labels"><c>[B, T]</c>.</param>
    /// <param name="counts"><c>[B, T]</c>, which positions count; null = all but the ignored label.</param>
    /// <param name="batch">B.</param>
    /// <param name="classes">C.</param>
    /// <param name="ignored">The label of positions that do not count.</param>
    public static OutputMeasures Of(ReadOnlySpan<double> logits, ReadOnlySpan<long> labels, ReadOnlySpan<bool> counts, int batch, int classes, long ignored)
    {
        var measures = new OutputMeasures(batch);
        var positions = labels.Length / batch;
        for (var b = 0; b < batch; b++)
        {
            for (var t = b * positions; t < (b + 1) * positions; t++)
            {
                if (labels[t] == ignored || (!counts.IsEmpty && !counts[t]))
                {
                    continue;
                }

                if (labels[t] < 0 || labels[t] >= classes)
                {
                    measures.Positions[b] = BadLabel;
                    break;
                }

                measures.Add(b, logits.Slice(t * classes, classes), (int)labels[t]);
            }

            measures.Divide(b);
        }

        return measures;
    }

    private void Add(int example, ReadOnlySpan<double> logits, int label)
    {
        var highest = double.NegativeInfinity;
        for (var j = 0; j < logits.Length; j++)
        {
            highest = j != label && logits[j] > highest ? logits[j] : highest;
        }

        var (sum, squares) = (0.0, 0.0);
        for (var j = 0; j < logits.Length; j++)
        {
            if (j != label)
            {
                var e = Math.Exp(logits[j] - highest);
                sum += e;
                squares += e * e;
            }
        }

        var margin = logits[label] - highest;
        var d = margin - Math.Log(sum);
        var small = Math.Exp(-Math.Abs(d));
        var (p, rest) = d > 0 ? (1 / (1 + small), small / (1 + small)) : (small / (1 + small), 1 / (1 + small));
        Probability[example] += p;
        Margin[example] += margin;
        Loss[example] += Math.Max(-d, 0) + LogOnePlus(small);
        El2n[example] += rest * Math.Sqrt(1 + (squares / (sum * sum)));
        CorrectShare[example] += margin > 0 ? 1 : 0;
        Positions[example]++;
    }

    /// <summary>log(1 + x) for x in [0, 1], exact also where 1 + x rounds to 1.</summary>
    private static double LogOnePlus(double x)
    {
        var sum = 1 + x;
        return sum == 1 ? x : Math.Log(sum) * (x / (sum - 1));
    }

    private void Divide(int example)
    {
        var positions = Positions[example];
        if (positions > 1)
        {
            Probability[example] /= positions;
            Margin[example] /= positions;
            Loss[example] /= positions;
            El2n[example] /= positions;
            CorrectShare[example] /= positions;
        }
    }
}
