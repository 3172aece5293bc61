using System.Globalization;

namespace Influence.Trees;

/// <summary>
/// TREX: a linear model over the leaves that examples fall in stands for the trees, <c>min over W of (1/N) sum of L(b + W phi_i, y_i) + l2
/// |W|^2</c>. At the minimum <c>W = sum of alpha_i phi_i</c> with <c>alpha_i = -L'_i / (2 l2 N)</c>, so that each training example has a
/// term <c>alpha_i k(i, query)</c> in a query's output; the score is the rise of the query's loss when that term is taken out.
/// </summary>
/// <remarks>
/// Representer points (Yeh et al., NeurIPS 2018) on a tree kernel; Brophy and Lowd, 2020; Brophy, Hammoudeh and Lowd, JMLR 2023. It
/// explains the surrogate, and nothing holds the surrogate to the trees: notes say how their outputs correlate. Fitted by Newton steps with
/// conjugate gradients in double precision, from zero. Cost: N T a product, some hundreds of products; Q N T divided by the leaves of a
/// tree for the scores.
/// </remarks>
public sealed record Trex : TreeEstimator
{
    /// <summary>The kernel.</summary>
    /// <value><see cref="TreeKernel.WeightedLeafPath"/>.</value>
    public TreeKernel Kernel
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>The factor of <c>|W|^2</c>.</summary>
    /// <value>0.003, the published one.</value>
    public double L2
    {
        get;
        init => field = Check.Positive(value);
    } = 0.003;

    /// <summary>
    /// Whether the surrogate begins at the best constant score b, as boosting does. The published code has b = 0, which leaves a regression
    /// whose targets are far from 0 to the regularised part.
    /// </summary>
    /// <value>True.</value>
    public bool FromAverage { get; init; } = true;

    /// <summary>At which share of its first norm the gradient counts as zero.</summary>
    /// <value>1e-10.</value>
    public double Tolerance
    {
        get;
        init => field = Check.Positive(value);
    } = 1e-10;

    private protected override string Title => string.Create(CultureInfo.InvariantCulture, $"TREX ({Kernel}, l2 = {L2})");

    private protected override ScoreMetadata Metadata(string notes) =>
        new()
        {
            Estimator = Title,
            Checkpoints = "the final model",
            Unit = "loss of the query under the surrogate: its rise without the example's term",
            Layers = "a linear surrogate over all leaves",
            Notes = notes,
        };

    private protected override string Compute(TreeWork work)
    {
        var (model, train) = (work.Model, work.Train);
        var (loss, outputs) = (model.LossFunction, model.Outputs);
        var features = new TreeKernelFeatures(work, Kernel);
        var offset = FromAverage ? loss.Initial(train.TargetArray, null) : new double[outputs];
        var surrogate = new TreeSurrogate(features, loss, train.TargetArray, offset, L2);
        var iterations = surrogate.Fit(Tolerance, work.Token);
        var outputsOfQueries = surrogate.Outputs(features.Queries);
        Span<double> without = stackalloc double[outputs];
        if (!work.Pairs)
        {
            for (var i = 0; i < train.Count; i++)
            {
                work.Scores[i] = Rise(features.Self(features.Train, i), i, i, without);
            }
        }
        else
        {
            var members = features.Members();
            for (var q = 0; q < work.Queries.Count; q++)
            {
                work.Token.ThrowIfCancellationRequested();
                work.Report("scoring, query by query", q, work.Queries.Count);
                var row = features.Row(q, members);
                for (var i = 0; i < row.Length; i++)
                {
                    work.At(q, i) = Rise(row[i], q, i, without);
                }
            }

            work.Report("scoring, query by query", work.Queries.Count, work.Queries.Count);
        }

        var fidelity = Correlation(surrogate.Outputs(features.Train), model.Raw(train));
        return string.Create(
            CultureInfo.InvariantCulture,
            $"fitted in {iterations} Newton steps; correlation of the surrogate's outputs "
                + $"with the trees' on the training examples: {fidelity:F3}"
        );

        double Rise(double kernel, int query, int example, Span<double> raw)
        {
            var own = outputsOfQueries.AsSpan(query * outputs, outputs);
            for (var k = 0; k < outputs; k++)
            {
                raw[k] = own[k] - (surrogate.Alphas[(example * outputs) + k] * kernel);
            }

            return kernel == 0 ? 0 : loss.Value(raw, work.Queries.TargetArray[query]) - loss.Value(own, work.Queries.TargetArray[query]);
        }
    }

    private static double Correlation(double[] a, double[,] raw)
    {
        double[] b = [.. raw.Cast<double>()];
        var (meanA, meanB) = (a.Average(), b.Average());
        var (ab, aa, bb) = (0.0, 0.0, 0.0);
        for (var i = 0; i < a.Length; i++)
        {
            ab += (a[i] - meanA) * (b[i] - meanB);
            aa += (a[i] - meanA) * (a[i] - meanA);
            bb += (b[i] - meanB) * (b[i] - meanB);
        }

        return ab / Math.Sqrt(aa * bb);
    }
}
