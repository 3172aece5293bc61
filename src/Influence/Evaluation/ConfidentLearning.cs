using Influence.Display;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Evaluation;

/// <summary>
/// Label issues from predicted probabilities alone: the baseline without gradients that scores for wrong labels are measured
/// against.
/// </summary>
/// <remarks>
/// Northcutt et al., 2021 (JAIR). With threshold <c>t_k = mean of p_k over the examples labelled k</c>, an example counts in
/// <c>C[given, k]</c> for the class k of highest p_k among those with p_k at least t_k, and not at all where there is none.
/// The rows of C, its diagonal at least 1, are scaled to the counts of the given labels; over N that is the joint of given and
/// true labels. The probabilities must be out of sample, as by cross-validation: a model that has learnt the labels by heart
/// agrees with them.
/// </remarks>
public sealed record ConfidentLearning
{
    /// <summary>Probabilities this little below a threshold reach it.</summary>
    private const double Rounding = 1e-6;

    /// <summary>Which examples are issues. One whose given label is the most probable is none under any of them.</summary>
    /// <value><see cref="ConfidentLearning.Kind.NoiseRate"/>.</value>
    public Kind Filter { get; init; }

    /// <summary>Finds label issues.</summary>
    /// <param name="probabilities"><c>[N, K]</c>, float32 or float64, rows that sum to 1; stays the caller's.</param>
    /// <param name="labels">N given labels, 0 to K - 1.</param>
    /// <param name="ids">N ids; unless given, 0, 1, 2, ...</param>
    /// <returns>The issues, thresholds and joint.</returns>
    /// <exception cref="InfluenceException">Shapes that do not fit, labels that are no class, or rows that are no
    /// probabilities.</exception>
    public Result Find(Tensor probabilities, IReadOnlyList<long> labels, IReadOnlyList<long>? ids = null)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        ArgumentNullException.ThrowIfNull(labels);
        ids ??= [.. Enumerable.Range(0, labels.Count).Select(i => (long)i)];
        var p = Checked(probabilities, labels, ids);
        var (n, classes) = (labels.Count, p[0].Length);
        var members = Enumerable.Range(0, n).ToLookup(i => (int)labels[i]);
        double[] thresholds =
        [
            .. Enumerable.Range(0, classes).Select(k => members[k].Any() ? members[k].Average(i => p[i][k]) : double.PositiveInfinity),
        ];
        int[] confident =
        [
            .. p.Select(row =>
                Enumerable
                    .Range(0, classes)
                    .Where(k => row[k] >= thresholds[k] - Rounding)
                    .OrderByDescending(k => row[k])
                    .FirstOrDefault(-1)
            ),
        ];
        var counts = new int[classes, classes];
        for (var i = 0; i < n; i++)
        {
            if (confident[i] >= 0)
            {
                counts[labels[i], confident[i]]++;
            }
        }

        var joint = Joint(counts, members);
        int[] likeliest = [.. p.Select(row => Array.IndexOf(row, row.Max()))];
        var chosen = Filter switch
        {
            Kind.NoiseRate => ByNoiseRate(),
            Kind.Class => ByClass(),
            Kind.Both => [.. ByNoiseRate().Intersect(ByClass())],
            _ => [.. Enumerable.Range(0, n).Where(i => confident[i] >= 0 && confident[i] != labels[i])],
        };
        long[] issues =
        [
            .. chosen.Where(i => likeliest[i] != labels[i]).OrderBy(i => p[i][labels[i]]).ThenBy(i => ids[i]).Select(i => ids[i]),
        ];
        return new Result(
            issues,
            thresholds,
            counts,
            joint,
            ExampleScores.Of(ids, [.. p.Select((row, i) => 1 - row[labels[i]])], "1 - p(given label)"),
            ExampleScores.Of(
                ids,
                [.. p.Select((row, i) => row.Where((_, k) => k != labels[i]).Max() - row[labels[i]])],
                "p(likeliest other) - p(given label)"
            )
        );

        HashSet<int> ByNoiseRate()
        {
            var found = new HashSet<int>();
            for (var given = 0; given < classes; given++)
            {
                var numbers = Rounded(joint, given, n, members[given].Count());
                for (var other = 0; other < classes; other++)
                {
                    if (other != given)
                    {
                        found.UnionWith(
                            members[given].OrderByDescending(i => p[i][other] - p[i][given]).ThenBy(i => ids[i]).Take(numbers[other])
                        );
                    }
                }
            }

            return found;
        }

        HashSet<int> ByClass() =>
            [
                .. Enumerable
                    .Range(0, classes)
                    .SelectMany(given =>
                        members[given]
                            .OrderBy(i => p[i][given])
                            .ThenBy(i => ids[i])
                            .Take(members[given].Count() - Rounded(joint, given, n, members[given].Count())[given])
                    ),
            ];
    }

    private static double[][] Checked(Tensor probabilities, IReadOnlyList<long> labels, IReadOnlyList<long> ids)
    {
        if (
            probabilities.dim() != 2
            || probabilities.shape[0] != labels.Count
            || labels.Count != ids.Count
            || labels.Count == 0
            || probabilities.shape[1] < 2
        )
        {
            throw new InfluenceException(
                "Probabilities are [N, K] with a label and an id for each row, and at least two classes; found "
                    + $"[{string.Join(", ", probabilities.shape)}], {labels.Count} labels and {ids.Count} ids."
            );
        }

        using var scope = NewDisposeScope();
        var classes = (int)probabilities.shape[1];
        var flat = probabilities.detach().to_type(ScalarType.Float64).cpu().contiguous().data<double>().ToArray();
        double[][] rows = [.. flat.Chunk(classes)];
        var foreign = ids.Where((_, i) => labels[i] < 0 || labels[i] >= classes).ToList();
        var broken = ids.Where((_, i) => !rows[i].All(v => v is >= 0 and <= 1 + 1e-4) || Math.Abs(rows[i].Sum() - 1) > 1e-3).ToList();
        InfluenceException.ThrowIfAny([
            .. foreign.Count == 0
                ? Array.Empty<string>()
                : [$"Labels are 0 to {classes - 1}; those of these examples are not: ids {InfluenceException.List(foreign)}."],
            .. broken.Count == 0
                ? Array.Empty<string>()
                :
                [
                    "Rows of probabilities sum to 1; those of these examples do not (logits want "
                        + $"softmax(-1)): ids {InfluenceException.List(broken)}.",
                ],
        ]);
        return rows;
    }

    /// <summary>Rows scaled to the given labels' counts, over N.</summary>
    private static double[,] Joint(int[,] counts, ILookup<int, int> members)
    {
        var classes = counts.GetLength(0);
        var joint = new double[classes, classes];
        var total = Enumerable.Range(0, classes).Sum(k => members[k].Count());
        for (var given = 0; given < classes; given++)
        {
            double[] row =
            [
                .. Enumerable.Range(0, classes).Select(k => (double)(k == given ? Math.Max(1, counts[given, k]) : counts[given, k])),
            ];
            for (var k = 0; k < classes; k++)
            {
                joint[given, k] = row[k] / row.Sum() * members[given].Count() / total;
            }
        }

        return joint;
    }

    /// <summary>A row of the joint in whole examples that sum to the row's, by largest remainders.</summary>
    private static int[] Rounded(double[,] joint, int given, int n, int count)
    {
        double[] exact = [.. Enumerable.Range(0, joint.GetLength(1)).Select(k => joint[given, k] * n)];
        int[] whole = [.. exact.Select(v => (int)Math.Floor(v + 1e-9))];
        foreach (
            var k in Enumerable.Range(0, exact.Length).OrderByDescending(k => exact[k] - whole[k]).Take(Math.Max(0, count - whole.Sum()))
        )
        {
            whole[k]++;
        }

        return whole;
    }

    /// <summary>Which examples confident learning calls label issues.</summary>
    public enum Kind
    {
        /// <summary>For each pair of a given and another class, as many as the joint says, those whose margin p_other - p_given is
        /// largest.</summary>
        NoiseRate,

        /// <summary>For each given class, as many as the joint says are of other classes, those of the lowest p_given.</summary>
        Class,

        /// <summary>Those that both of the above call issues.</summary>
        Both,

        /// <summary>Those that count outside the diagonal of the confident joint.</summary>
        Confident,
    }

    /// <summary>What confident learning found.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(
            IReadOnlyList<long> ids,
            IReadOnlyList<double> thresholds,
            int[,] confidentJoint,
            double[,] joint,
            ExampleScores selfConfidence,
            ExampleScores margin
        )
        {
            (Ids, Thresholds, ConfidentJoint, Joint, SelfConfidence, Margin) = (
                ids,
                thresholds,
                confidentJoint,
                joint,
                selfConfidence,
                margin
            );
        }

        /// <summary>The label issues, the least probable given label first.</summary>
        public IReadOnlyList<long> Ids { get; }

        /// <summary>Class by class, the mean probability of the class among the examples that are labelled so; infinite for a class without
        /// examples.</summary>
        public IReadOnlyList<double> Thresholds { get; }

        /// <summary>Counts by given label (rows) and confident class (columns).</summary>
        public int[,] ConfidentJoint { get; }

        /// <summary>The estimated joint probability of given (rows) and true labels (columns).</summary>
        public double[,] Joint { get; }

        /// <summary>1 - p(given label), high = suspicious: a ranking for <see cref="MislabelDetection"/>.</summary>
        public ExampleScores SelfConfidence { get; }

        /// <summary>The probability of the likeliest other class less that of the given label, high = suspicious.</summary>
        public ExampleScores Margin { get; }

        /// <summary>A table of the issues.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable()
        {
            var suspicion = SelfConfidence.Ids.Zip(SelfConfidence.Values).ToDictionary(pair => pair.First, pair => pair.Second);
            return new Table(
                $"Confident learning: {Ids.Count:N0} label issues among {SelfConfidence.Count:N0} examples",
                ["id", "1 - p(given label)"],
                [.. Ids.Take(Table.MaximumRows).Select(id => (IReadOnlyList<object>)[id, suspicion[id]])],
                Ids.Count
            );
        }
    }
}
