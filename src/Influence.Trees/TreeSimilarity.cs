namespace Influence.Trees;

/// <summary>
/// Tree-kernel similarity, a baseline: how alike the model finds the two (<see cref="TreeKernel"/>), positive where the targets agree and
/// negative where they do not. Targets of a regression agree when both lie on the same side of the query's prediction.
/// </summary>
/// <remarks>TreeSim and LeafSim of Brophy, Hammoudeh and Lowd, JMLR 2023. A similarity, and no effect on the loss. Cost: Q N T divided by
/// the leaves of a tree.</remarks>
public sealed record TreeSimilarity : TreeEstimator
{
    /// <summary>The kernel.</summary>
    /// <value><see cref="TreeKernel.WeightedLeafPath"/>.</value>
    public TreeKernel Kernel
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>Whether the kernel's values are divided by the lengths of both, so that every example is 1 like itself.</summary>
    /// <value>False.</value>
    public bool Cosine { get; init; }

    private protected override string Title => $"tree-kernel similarity ({Kernel}{(Cosine ? ", cosine" : string.Empty)})";

    private protected override ScoreMetadata Metadata(string notes) =>
        new()
        {
            Estimator = Title,
            Checkpoints = "the final model",
            Sign = "positive = proponent by similarity: alike, and the targets agree",
            Unit = Cosine ? "cosine" : "kernel value",
            Layers = "all trees",
            Notes = notes,
        };

    private protected override string Compute(TreeWork work)
    {
        var features = new TreeKernelFeatures(work, Kernel);
        double[] own = [.. Enumerable.Range(0, work.Train.Count).Select(i => Math.Sqrt(features.Self(features.Train, i)))];
        if (!work.Pairs)
        {
            for (var i = 0; i < own.Length; i++)
            {
                work.Scores[i] = Cosine ? (own[i] > 0 ? 1 : 0) : own[i] * own[i];
            }

            return string.Empty;
        }

        var members = features.Members();
        var raw = work.Model.Raw(work.Queries);
        for (var q = 0; q < work.Queries.Count; q++)
        {
            work.Token.ThrowIfCancellationRequested();
            work.Report("scoring, query by query", q, work.Queries.Count);
            var (row, length) = (features.Row(q, members), Math.Sqrt(features.Self(features.Queries, q)));
            for (var i = 0; i < row.Length; i++)
            {
                var scale = Cosine ? length * own[i] : 1;
                work.At(q, i) = scale == 0 ? 0 : row[i] / scale * (Agree(work, q, i, raw[q, 0]) ? 1 : -1);
            }
        }

        work.Report("scoring, query by query", work.Queries.Count, work.Queries.Count);
        return string.Empty;
    }

    private static bool Agree(TreeWork work, int query, int example, double prediction)
    {
        var (own, other) = (work.Train.TargetArray[example], work.Queries.TargetArray[query]);
        return work.Model.Loss == BoostedTrees.LossKind.SquaredError ? (own >= prediction) == (other > prediction) : own == other;
    }
}
