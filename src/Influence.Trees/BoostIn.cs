namespace Influence.Trees;

/// <summary>
/// BoostIn, TracIn's idea over the iterations of boosting: the sum over trees t in whose leaf both fall of
/// <c>g_t(query) rate (g_t(i) + h_t(i) theta) / (H + lambda)</c>, with gradients g and second derivatives h at the scores before tree t,
/// theta the leaf's value without the learning rate, and H the second derivatives' sum over the leaf.
/// </summary>
/// <remarks>
/// Brophy, Hammoudeh and Lowd, JMLR 2023, section 4. It holds the structure, and every other example's gradient, as they are: what an
/// example does to later trees by way of others is left out (<see cref="LeafInfluence"/> has it). Works for any model that is read, sampled
/// ones too, with second derivatives of the examples given; of one that was trained with weights the first iteration's terms are off by the
/// difference of the starting scores. Cost: N T for the fit, Q N T divided by the leaves of a tree for
/// the scores; memory Q N + N T.
/// </remarks>
public sealed record BoostIn : TreeEstimator
{
    /// <summary>Whether theta is the leaf's value with the learning rate, as in the method's published code; its derivative has it
    /// without.</summary>
    /// <value>False.</value>
    public bool ShrunkLeafValue { get; init; }

    private protected override string Title => ShrunkLeafValue ? "BoostIn (shrunk leaf values)" : "BoostIn";

    private protected override ScoreMetadata Metadata(string notes) =>
        new()
        {
            Estimator = Title,
            Checkpoints = "every iteration of boosting",
            Unit = "loss of the query: its rise when the example is left out, to first order, by the example's own leaves",
            LeaveOneOutFactor = 1,
            Curvature = "the leaf's second derivatives",
            Layers = "all trees, their structure as it is",
            Notes = notes,
        };

    private protected override string Compute(TreeWork work)
    {
        var (model, train, queries) = (work.Model, work.Train, work.Queries);
        var (outputs, loss) = (model.Outputs, model.LossFunction);
        if (model.Settings.IsDart)
        {
            throw new InfluenceException(
                "BoostIn follows the iterations of boosting, and dart rescales earlier trees; train with boosting = gbdt."
            );
        }

        var fit = LeafFit.Of(model, train, work.Token);
        var (queryLeaves, pulls) = (
            work.Pairs ? LeafFit.LeavesOf(model, queries, work.Token) : fit.Leaves,
            new double[train.Count * outputs]
        );
        double[] queryGradients = new double[queries.Count * outputs],
            h = new double[outputs];
        double[] own = new double[outputs];

        // The queries' gradients, iteration by iteration, are needed beside the training examples'; of self-influence they are the same.
        var kept = new List<double[]>(model.Iterations);
        if (work.Pairs)
        {
            fit.Replay(
                queries,
                queryLeaves,
                (_, raw) =>
                {
                    var gradients = new double[raw.Length];
                    for (var q = 0; q < queries.Count; q++)
                    {
                        loss.Derivatives(
                            raw.AsSpan(q * outputs, outputs),
                            queries.TargetArray[q],
                            gradients.AsSpan(q * outputs, outputs),
                            h
                        );
                    }

                    kept.Add(gradients);
                },
                work.Token
            );
        }

        fit.Replay(
            train,
            fit.Leaves,
            (iteration, raw) =>
            {
                work.Report("scoring, tree by tree", iteration, model.Iterations);
                var first = iteration * outputs;
                for (var i = 0; i < train.Count; i++)
                {
                    loss.Derivatives(raw.AsSpan(i * outputs, outputs), train.TargetArray[i], own, h);
                    for (var k = 0; k < outputs; k++)
                    {
                        var (tree, leaf) = (first + k, fit.Leaves[first + k][i]);
                        var theta = fit.Theta[tree][leaf] * (ShrunkLeafValue ? fit.Rates[tree] : 1);
                        pulls[(i * outputs) + k] = model.Trees[tree].IsConstant
                            ? 0
                            : fit.Rates[tree] * (own[k] + (h[k] * theta)) / fit.Hessians[tree][leaf];
                        if (!work.Pairs)
                        {
                            work.At(i, i) += own[k] * pulls[(i * outputs) + k];
                        }
                    }
                }

                for (var k = 0; work.Pairs && k < outputs; k++)
                {
                    Add(work, kept[iteration], pulls, fit.Leaves[first + k], queryLeaves[first + k], fit.Theta[first + k].Length, k);
                }
            },
            work.Token
        );
        work.Report("scoring, tree by tree", model.Iterations, model.Iterations);
        return string.Empty;
    }

    private static void Add(TreeWork work, double[] gradients, double[] pulls, int[] leaves, int[] queryLeaves, int leafCount, int k)
    {
        var outputs = work.Model.Outputs;
        var members = LeafMembers.Of(leaves, leafCount);
        for (var q = 0; q < queryLeaves.Length; q++)
        {
            foreach (var i in members.In(queryLeaves[q]))
            {
                work.At(q, i) += gradients[(q * outputs) + k] * pulls[(i * outputs) + k];
            }
        }
    }
}
