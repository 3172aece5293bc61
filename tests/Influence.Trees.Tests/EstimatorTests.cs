using Influence.Evaluation;
using Influence.Selection;
using Influence.Trees.Native;
using TorchSharp;
using Xunit;
using LossKind = Influence.Trees.BoostedTrees.LossKind;

namespace Influence.Trees.Tests;

/// <summary>What holds of every estimator.</summary>
public class EstimatorTests
{
    public static TheoryData<TreeEstimator> Estimators =>
        [
            new BoostIn(),
            new BoostIn { ShrunkLeafValue = true },
            new LeafRefit(),
            new LeafRefit { Propagate = false },
            new LeafInfluence(),
            new LeafInfluence { Propagate = false },
            new Trex(),
            new Trex
            {
                Kernel = TreeKernel.LeafOutput,
                FromAverage = false,
                L2 = 0.1,
            },
            new TreeSimilarity(),
            new TreeSimilarity { Kernel = TreeKernel.LeafPath, Cosine = true },
        ];

    [LightGbmTheory]
    [MemberData(nameof(Estimators))]
    public void Self_influence_is_the_diagonal(TreeEstimator estimator)
    {
        foreach (var loss in Enum.GetValues<LossKind>())
        {
            var (model, train, _) = Tables.Trained(loss, count: 60, iterations: 4);
            using var scores = estimator.Score(model, train, train);
            var self = estimator.SelfInfluence(model, train);

            Assert.Equal(train.Ids, self.Ids);
            for (var i = 0; i < train.Count; i++)
            {
                // A regression's similarity has the sign of both targets against the prediction, and that of an example with itself is
                // positive.
                var expected = estimator is TreeSimilarity ? Math.Abs(scores[i, i]) : scores[i, i];
                Assert.Equal(expected, self[i], 1e-9 * (1 + Math.Abs(expected)));
            }
        }
    }

    [LightGbmTheory]
    [MemberData(nameof(Estimators))]
    public void Order_of_the_examples_and_company_of_the_queries_change_nothing(TreeEstimator estimator)
    {
        var (model, train, queries) = Tables.Trained(LossKind.Binary, count: 60, iterations: 4);
        using var scores = estimator.Score(model, train, queries);
        using var other = estimator.Score(model, train.Only([.. train.Ids.Reverse()]), queries.Only([queries.Ids[4]]));

        Assert.Equal(queries.Ids, scores.QueryIds);
        Assert.Equal(torch.ScalarType.Float64, scores.Values.dtype);
        foreach (var id in train.Ids)
        {
            // The order of sums in double precision; TREX's solver adds to it.
            Assert.Equal(scores.Of(queries.Ids[4], id), other.Of(queries.Ids[4], id), 1e-8);
        }
    }

    [LightGbmTheory]
    [MemberData(nameof(Estimators))]
    public void Progress_reaches_its_total_and_metadata_say_what_it_is(TreeEstimator estimator)
    {
        var (model, train, queries) = Tables.Trained(LossKind.Binary, count: 60, iterations: 4);
        var seen = new Reports();
        using var scores = estimator.Score(model, train, queries, seen);

        Assert.Equal(1, seen.All[^1].Fraction);
        Assert.Single(seen.All.Select(p => p.Total).Distinct());
        Assert.StartsWith("positive = proponent", scores.Metadata.Sign, StringComparison.Ordinal);
        Assert.Equal(estimator is BoostIn or LeafRefit or LeafInfluence, scores.Metadata.LeaveOneOutFactor == 1);
    }

    /// <summary>The core's selection, retraining study and search for wrong labels take the scores as they are.</summary>
    [LightGbmFact]
    public void Scores_go_through_the_library()
    {
        var clean = Tables.Of(LossKind.Binary, 300, 1, category: false);
        long[] wrong = [.. clean.Ids.Where(id => id % 10 == 3)];
        var train = clean.WithTargets([.. clean.Targets.Select((t, i) => wrong.Contains(clean.Ids[i]) ? 1 - t : t)]);
        const string Settings = "objective=binary num_leaves=6 min_data_in_leaf=8 learning_rate=0.2";
        var model = BoostedTrees.ParseLightGbm(LightGbm.Train(train, Settings, 15).Text);
        var queries = Tables.Of(LossKind.Binary, 40, 2, category: false);
        using var scores = new BoostIn().Score(model, train, queries);

        var found = new MislabelDetection().Evaluate(new BoostIn().SelfInfluence(model, train), wrong);
        var kept = new TopK().Select(scores, SelectionBudget.Count(30));
        var halves = Subsets.Half(train.Ids, 20, seed: 1);
        var losses = new double[halves.Count, queries.Count];
        for (var m = 0; m < halves.Count; m++)
        {
            var again = BoostedTrees.ParseLightGbm(LightGbm.Train(train.Only(halves[m].Ids), Settings, 15).Text).Losses(queries);
            for (var q = 0; q < queries.Count; q++)
            {
                losses[m, q] = again[q];
            }
        }

        var lds = new Lds().Evaluate(scores, Retraining.Result.Of(halves, queries.Ids, losses));

        Assert.True(found.Auc.Value > 0.8, found.ToString());
        Assert.Equal(30, kept.Count);
        Assert.True(lds.Mean.Lower > 0.05, lds.ToString());
    }

    private sealed class Reports : IProgress<InfluenceProgress>
    {
        public List<InfluenceProgress> All { get; } = [];

        public void Report(InfluenceProgress value) => All.Add(value);
    }
}
