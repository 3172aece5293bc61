using Influence.Trees.Native;
using Xunit;
using LossKind = Influence.Trees.BoostedTrees.LossKind;

namespace Influence.Trees.Tests;

/// <summary>BoostIn, LeafRefit and LeafInfluence against numbers by hand, loops, finite differences and LightGBM's own
/// retraining.</summary>
public class LeafTests
{
    /// <summary>
    /// One feature of two values, so that the one split there is stays the same whoever is left out: LightGBM trained again is then the
    /// truth. Targets of the left leaf 1, 2, 6, of the right 10, 14.
    /// </summary>
    private static readonly TabularExamples s_two = new(
        new double[,]
        {
            { 0 },
            { 0 },
            { 0 },
            { 1 },
            { 1 },
        },
        [1, 2, 6, 10, 14]
    );

    private const string TwoLeaves = "num_leaves=2 min_data_in_leaf=1 min_data_in_bin=1 min_sum_hessian_in_leaf=0";

    [LightGbmFact]
    public void One_iteration_of_squared_error_by_hand()
    {
        // From 0, with rate 1/2 and lambda 1: the left leaf is 0.5 * 9/4 = 1.125, the right 0.5 * 24/3 = 4.
        var model = BoostedTrees.ParseLightGbm(
            LightGbm.Train(s_two, $"objective=regression boost_from_average=false learning_rate=0.5 lambda_l2=1 {TwoLeaves}", 1).Text
        );
        var queries = new TabularExamples(
            new double[,]
            {
                { 0 },
                { 1 },
            },
            [3, 3]
        );
        using var refit = new LeafRefit().Score(model, s_two, queries);
        using var influence = new LeafInfluence().Score(model, s_two, queries);
        using var boostIn = new BoostIn().Score(model, s_two, queries);

        Assert.Equal(1.125, model.Raw(queries)[0, 0], 1e-6);
        Assert.Equal(4, model.Raw(queries)[1, 0], 1e-6);

        // Without the target 6 the left leaf is 0.5 * 3/3 = 0.5: (3 - 0.5)^2 / 2 - (3 - 1.125)^2 / 2.
        Assert.Equal(3.125 - 1.7578125, refit[0, 2], 1e-6);
        Assert.Equal(0, refit[1, 2], 1e-12);

        // theta = 9/4: the derivative by the weight of target 6 is 0.5 (6 - 9/4) / 4; the query's gradient is 1.125 - 3 at the end, and -3
        // before the tree.
        Assert.Equal(1.875 * 0.5 * 3.75 / 4, influence[0, 2], 1e-6);
        Assert.Equal(3 * 0.5 * 3.75 / 4, boostIn[0, 2], 1e-6);
        Assert.Equal(3 * 0.5 * (6 - 1.125) / 4, new BoostIn { ShrunkLeafValue = true }.Score(model, s_two, queries)[0, 2], 1e-6);

        // The query of the right leaf would like a smaller value: the target 14 is its opponent.
        Assert.True(refit[1, 4] < 0 && influence[1, 4] < 0);
    }

    /// <summary>LightGBM computes gradients in single precision: leaf values, and losses of some units, agree to about 1e-6.</summary>
    [LightGbmTheory]
    [InlineData("objective=regression learning_rate=0.3", false)]
    [InlineData("objective=regression learning_rate=0.3 lambda_l2=2 boost_from_average=false", false)]
    [InlineData("objective=binary learning_rate=0.3 lambda_l2=0.1", true)]
    [InlineData("objective=multiclass num_class=2 learning_rate=0.3", true)]
    public void LeafRefit_is_LightGBM_trained_again_where_the_structure_cannot_change(string settings, bool classes)
    {
        var (features, targets) = (new double[40, 1], new double[40]);
        for (var i = 0; i < 40; i++)
        {
            features[i, 0] = i % 3 == 0 ? 1 : 0;
            targets[i] = classes ? (i % 7 < (i % 3 == 0 ? 5 : 2) ? 1 : 0) : (i * 37 % 11) + (i % 3 == 0 ? 5 : 0);
        }

        var train = new TabularExamples(features, targets);
        var queries = train.Only([0, 1, 2, 3, 4]);
        string Text(TabularExamples some) => LightGbm.Train(some, $"{settings} {TwoLeaves}", 12).Text;
        var model = BoostedTrees.ParseLightGbm(Text(train));
        var before = model.Losses(queries);
        using var scores = new LeafRefit().Score(model, train, queries);

        foreach (var id in (long[])[0, 1, 5, 17, 39])
        {
            var after = BoostedTrees.ParseLightGbm(Text(train.Without([id]))).Losses(queries);
            for (var q = 0; q < queries.Count; q++)
            {
                Assert.Equal(after[q] - before[q], scores.Of(queries.Ids[q], id), 2e-5);
            }
        }

        var group = BoostedTrees.ParseLightGbm(Text(train.Without([2, 3, 30, 31]))).Raw(queries);
        var refit = LeafRefit.Without(model, train, [2, 3, 30, 31]).Raw(queries);
        for (var q = 0; q < queries.Count; q++)
        {
            Assert.Equal(group[q, 0], refit[q, 0], 2e-5);
        }
    }

    [LightGbmTheory]
    [MemberData(nameof(Tables.Losses), MemberType = typeof(Tables))]
    public void Refitting_all_examples_gives_the_model_again(LossKind loss)
    {
        var (model, train, queries) = Tables.Trained(loss, more: "min_data_per_group=5 max_cat_to_onehot=2");

        var (expected, found) = (model.Raw(queries), LeafRefit.Without(model, train, []).Raw(queries));

        Assert.Contains(model.Trees, tree => tree.Sets.Length > 0);
        for (var q = 0; q < queries.Count; q++)
        {
            for (var k = 0; k < model.Outputs; k++)
            {
                // Single precision of LightGBM's gradients, over eight iterations.
                Assert.Equal(expected[q, k], found[q, k], 1e-4);
            }
        }
    }

    [LightGbmTheory]
    [MemberData(nameof(Tables.Losses), MemberType = typeof(Tables))]
    public void LeafRefit_is_a_refit_of_each_example(LossKind loss)
    {
        var (model, train, queries) = Tables.Trained(loss);
        using var scores = new LeafRefit().Score(model, train, queries);
        var before = LeafRefit.Without(model, train, []).Losses(queries);

        foreach (var id in (long[])[100, 137, 219])
        {
            var after = LeafRefit.Without(model, train, [id]).Losses(queries);
            for (var q = 0; q < queries.Count; q++)
            {
                Assert.Equal(after[q] - before[q], scores.Of(queries.Ids[q], id), 1e-10);
            }
        }
    }

    /// <summary>The derivative by the example's weight, by central differences of the refit with weights: steps of 1e-4 leave errors of
    /// about 1e-8.</summary>
    [LightGbmTheory]
    [MemberData(nameof(Tables.Losses), MemberType = typeof(Tables))]
    public void LeafInfluence_is_the_derivative_of_the_refit(LossKind loss)
    {
        var (model, train, queries) = Tables.Trained(loss);
        using var scores = new LeafInfluence().Score(model, train, queries);
        var fit = LeafFit.Of(model, train, CancellationToken.None);
        var refit = new LeafRefitter(fit);

        foreach (var i in (int[])[0, 37, 119])
        {
            var (more, less) = (Losses(i, 1 + 1e-4), Losses(i, 1 - 1e-4));
            for (var q = 0; q < queries.Count; q++)
            {
                var expected = -(more[q] - less[q]) / 2e-4;
                Assert.Equal(expected, scores[q, i], 1e-6 * (1 + Math.Abs(expected)));
            }
        }

        double[] Losses(int example, double weight)
        {
            refit.Weights[example] = weight;
            refit.Run();
            refit.Weights[example] = 1;
            return
            [
                .. Enumerable
                    .Range(0, queries.Count)
                    .Select(q =>
                    {
                        double[] raw = [.. refit.Initial];
                        for (var t = 0; t < model.Trees.Count; t++)
                        {
                            raw[t % model.Outputs] += refit.Values[t][model.Trees[t].LeafOf(queries.Row(q))];
                        }

                        return model.LossFunction.Value(raw, queries.Targets[q]);
                    }),
            ];
        }
    }

    /// <summary>Squared error has no second change of derivatives, so at one iteration held and followed gradients are the same but for the
    /// initial score.</summary>
    [LightGbmFact]
    public void Without_propagation_one_iteration_is_the_same()
    {
        var train = Tables.Of(LossKind.Binary, 120, 1);
        var model = BoostedTrees.ParseLightGbm(
            LightGbm.Train(train, "objective=binary num_leaves=5 boost_from_average=false min_data_in_leaf=5", 1).Text
        );
        var queries = Tables.Of(LossKind.Binary, 9, 2);

        foreach (
            var (held, followed) in new (TreeEstimator, TreeEstimator)[]
            {
                (new LeafRefit { Propagate = false }, new LeafRefit()),
                (new LeafInfluence { Propagate = false }, new LeafInfluence()),
            }
        )
        {
            using InfluenceScores a = held.Score(model, train, queries),
                b = followed.Score(model, train, queries);
            for (var i = 0; i < train.Count; i++)
            {
                // The held one takes its sums from the file's values, which are of single precision.
                Assert.Equal(b[3, i], a[3, i], 1e-8);
            }
        }
    }

    [LightGbmTheory]
    [MemberData(nameof(Tables.Losses), MemberType = typeof(Tables))]
    public void BoostIn_is_its_formula_in_a_loop(LossKind loss)
    {
        var (model, train, queries) = Tables.Trained(loss, count: 70, iterations: 5, category: false);
        using var scores = new BoostIn().Score(model, train, queries);
        var classes = model.Outputs;
        double[] initial =
        [
            .. Enumerable
                .Range(0, classes)
                .Select(k =>
                    loss switch
                    {
                        LossKind.SquaredError => train.Targets.Average(),
                        LossKind.Binary => Math.Log(train.Targets.Average() / (1 - train.Targets.Average())),
                        _ => Math.Log(train.Targets.Average(t => t == k ? 1.0 : 0)),
                    }
                ),
        ];

        for (var q = 0; q < queries.Count; q += 3)
        {
            for (var i = 0; i < train.Count; i += 5)
            {
                var sum = 0.0;
                for (var t = 0; t < model.Trees.Count; t++)
                {
                    var (tree, k) = (model.Trees[t], t % classes);
                    var leaf = tree.LeafOf(train.Row(i));
                    if (leaf != tree.LeafOf(queries.Row(q)))
                    {
                        continue;
                    }

                    var members = Enumerable.Range(0, train.Count).Where(j => tree.LeafOf(train.Row(j)) == leaf);
                    var curvature = members.Sum(j => Derivatives(train, j, t - k, k).H) + 0.5;
                    var theta = (tree.Values[leaf] - (t < classes ? initial[k] : 0)) / 0.3;
                    var (g, h) = Derivatives(train, i, t - k, k);
                    sum += Derivatives(queries, q, t - k, k).G * 0.3 * (g + (h * theta)) / curvature;
                }

                // The file's numbers are the same; the initial score of the reader's own is exact as this one.
                Assert.Equal(sum, scores[q, i], 1e-10 * (1 + Math.Abs(sum)));
            }
        }

        (double G, double H) Derivatives(TabularExamples some, int row, int before, int k)
        {
            var raw = new double[classes];
            for (var c = 0; c < classes; c++)
            {
                raw[c] = before == 0 ? initial[c] : 0;
                for (var t = c; t < before; t += classes)
                {
                    raw[c] += model.Trees[t].Values[model.Trees[t].LeafOf(some.Row(row))];
                }
            }

            var y = some.Targets[row];
            switch (loss)
            {
                case LossKind.SquaredError:
                    return (raw[0] - y, 1);
                case LossKind.Binary:
                    var p = 1 / (1 + Math.Exp(-raw[0]));
                    return (p - y, p * (1 - p));
                default:
                    var share = Math.Exp(raw[k]) / raw.Sum(Math.Exp);
                    return (share - (y == k ? 1 : 0), 1.5 * share * (1 - share));
            }
        }
    }
}
