namespace Influence.Trees;

/// <summary>
/// LeafRefit: leaves the example out, boosts again with the structure as it is, initial score included, and takes the rise of the query's
/// loss. Exact for the structure; what it does not see are splits that would have been chosen otherwise.
/// </summary>
/// <remarks>
/// Sharchilev et al., ICML 2018; Brophy, Hammoudeh and Lowd, JMLR 2023. Cost: N T for each of N examples, so N^2 T and Q N T; one thread's
/// memory is N. Needs a model whose leaf values follow from the examples given, which is checked: no sampling, no weights, no lambda_l1.
/// <see cref="Without"/> refits a model without any set of examples, for the price of one.
/// </remarks>
public sealed record LeafRefit : TreeEstimator
{
    /// <summary>
    /// Whether other examples' gradients follow the change. If not, each leaf loses the example and nothing else changes: the cost is T for
    /// each, and less is found (published as an update set of 0).
    /// </summary>
    /// <value>True.</value>
    public bool Propagate { get; init; } = true;

    private protected override string Title => Propagate ? "LeafRefit" : "LeafRefit (others' gradients held)";

    private protected override ScoreMetadata Metadata(string notes) =>
        new()
        {
            Estimator = Title,
            Checkpoints = "the final model",
            Unit = "loss of the query: its rise when the example is left out",
            LeaveOneOutFactor = 1,
            Curvature = "leaf values fitted again",
            Layers = "all trees, their structure as it is",
            Notes = notes,
        };

    /// <summary>The model that results when examples are left out and leaf values fitted again, the structure as it is.</summary>
    /// <param name="model">The model; it stays as it is.</param>
    /// <param name="train">The examples that it was trained on.</param>
    /// <param name="ids">The ids of those that are left out; none gives the model again, in double precision.</param>
    /// <returns>A model with other leaf values.</returns>
    /// <exception cref="InfluenceException">Ids that are not there, nothing left, or a model that does not follow from the
    /// examples.</exception>
    public static BoostedTrees Without(BoostedTrees model, TabularExamples train, IReadOnlyCollection<long> ids)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(ids);
        model.Check(train, "Training examples");
        int[] positions = [.. ids.Distinct().Select(train.PositionOf)];
        if (positions.Length == train.Count)
        {
            throw new InfluenceException($"At least one training example stays; all {train.Count} are left out.");
        }

        var fit = LeafFit.Of(model, train, CancellationToken.None);
        fit.RequireExact("LeafRefit");
        var refit = new LeafRefitter(fit);
        foreach (var position in positions)
        {
            refit.Weights[position] = 0;
        }

        refit.Run();
        return model.With([
            .. model.Trees.Select(
                (tree, t) =>
                {
                    var initial = t < model.Outputs ? refit.Initial[t] : 0;
                    return tree.IsConstant && t >= model.Outputs
                        ? tree
                        : tree with
                        {
                            Values = Array.ConvertAll(refit.Values[t], v => v + initial),
                        };
                }
            ),
        ]);
    }

    private protected override string Compute(TreeWork work)
    {
        var fit = LeafFit.Of(work.Model, work.Train, work.Token);
        fit.RequireExact("LeafRefit");
        var readout = new LeafReadout(fit, work);
        var all = new LeafRefitter(fit);
        var iterations = Propagate ? null : new List<double[]>();
        all.Run((_, raw) => iterations?.Add([.. raw]));
        var before = readout.Losses(all.Initial, all.Values);
        if (Propagate)
        {
            work.ForEachExample(
                "scoring, example by example",
                () => new LeafRefitter(fit),
                (i, refit) =>
                {
                    refit.Weights[i] = 0;
                    refit.Run();
                    refit.Weights[i] = 1;
                    readout.Add(i, before, refit.Initial, refit.Values);
                }
            );
        }
        else
        {
            var held = new HeldRefit(fit, all, iterations!);
            work.ForEachExample(
                "scoring, example by example",
                held.Buffers,
                (i, values) => readout.Add(i, before, held.Run(i, values), values)
            );
        }

        return string.Empty;
    }

    /// <summary>Leaf values when one example leaves its leaves and every other gradient stays.</summary>
    private sealed class HeldRefit(LeafFit fit, LeafRefitter all, List<double[]> raw)
    {
        private readonly int[][] _members = [.. fit.Leaves.Select((leaves, tree) => Counts(leaves, fit.Theta[tree].Length))];

        public double[][] Buffers() => [.. all.Values.Select(v => (double[])v.Clone())];

        public double[] Run(int example, double[][] values)
        {
            var (model, outputs) = (fit.Model, fit.Model.Outputs);
            Span<double> g = stackalloc double[outputs],
                h = stackalloc double[outputs];
            for (var tree = 0; tree < values.Length; tree++)
            {
                Array.Copy(all.Values[tree], values[tree], values[tree].Length);
            }

            for (var t = 0; t < values.Length; t++)
            {
                if (t % outputs == 0)
                {
                    model.LossFunction.Derivatives(
                        raw[t / outputs].AsSpan(example * outputs, outputs),
                        fit.Train.TargetArray[example],
                        g,
                        h
                    );
                }

                var (leaf, k) = (fit.Leaves[t][example], t % outputs);
                if (!model.Trees[t].IsConstant)
                {
                    var gradient = -all.Values[t][leaf] / fit.Rates[t] * fit.Hessians[t][leaf];

                    // Of a leaf's only example nothing is left, though the difference of what was read and what is computed may be more.
                    values[t][leaf] = _members[t][leaf] == 1 ? 0 : -(gradient - g[k]) / (fit.Hessians[t][leaf] - h[k]) * fit.Rates[t];
                }
            }

            return all.Initial;
        }

        private static int[] Counts(int[] leaves, int leafCount)
        {
            var counts = new int[leafCount];
            foreach (var leaf in leaves)
            {
                counts[leaf]++;
            }

            return counts;
        }
    }
}
