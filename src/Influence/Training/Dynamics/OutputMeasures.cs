using System.Numerics;

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
internal sealed class OutputMeasures
{
    /// <summary>In <see cref="Positions"/>: a label is no class.</summary>
    public const int BadLabel = -1;

    public double[] Probability { get; private set; } = [];

    public double[] Margin { get; private set; } = [];

    public double[] Loss { get; private set; } = [];

    public double[] El2n { get; private set; } = [];

    /// <summary>The share of an example's positions whose label has the one highest logit.</summary>
    public double[] CorrectShare { get; private set; } = [];

    /// <summary>How many positions of an example count; 0 where none does.</summary>
    public int[] Positions { get; private set; } = [];

    /// <summary>Whether everything about an example is a number.</summary>
    public bool IsFinite(int i) => double.IsFinite(Probability[i] + Margin[i] + Loss[i] + El2n[i]);

    /// <summary>Everything zero, for that many examples. The arrays are kept: a step of a training loop leaves the processor's caches to
    /// the model.</summary>
    public void Reset(int count)
    {
        if (Positions.Length < count)
        {
            (Probability, Margin, Loss) = (new double[count], new double[count], new double[count]);
            (El2n, CorrectShare, Positions) = (new double[count], new double[count], new int[count]);
            return;
        }

        foreach (var values in (double[][])[Probability, Margin, Loss, El2n, CorrectShare])
        {
            Array.Clear(values, 0, count);
        }

        Array.Clear(Positions, 0, count);
    }

    /// <summary>Measures a step in a plain loop: for few classes quicker than a dozen tensor operations.</summary>
    /// <param name="logits"><c>[B, T, C]</c>, row-major, float or double.</param>
    /// <param name="labels"><c>[B, T]</c>.</param>
    /// <param name="counts"><c>[B, T]</c>, which positions count; empty = all but the ignored label.</param>
    /// <param name="batch">B.</param>
    /// <param name="classes">C.</param>
    /// <param name="ignored">The label of positions that do not count.</param>
    public void Measure<T>(
        ReadOnlySpan<T> logits,
        ReadOnlySpan<long> labels,
        ReadOnlySpan<bool> counts,
        int batch,
        int classes,
        long ignored
    )
        where T : unmanaged, INumber<T>
    {
        Reset(batch);
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
                    Positions[b] = BadLabel;
                    break;
                }

                Add(b, logits.Slice(t * classes, classes), (int)labels[t]);
            }

            Divide(b);
        }
    }

    private void Add<T>(int example, ReadOnlySpan<T> logits, int label)
        where T : unmanaged, INumber<T>
    {
        var highest = double.NegativeInfinity;
        for (var j = 0; j < logits.Length; j++)
        {
            var u = double.CreateTruncating(logits[j]);
            highest = j != label && u > highest ? u : highest;
        }

        var (sum, squares) = (0.0, 0.0);
        for (var j = 0; j < logits.Length; j++)
        {
            if (j != label)
            {
                var e = Math.Exp(double.CreateTruncating(logits[j]) - highest);
                sum += e;
                squares += e * e;
            }
        }

        var margin = double.CreateTruncating(logits[label]) - highest;
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
