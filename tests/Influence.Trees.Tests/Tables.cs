using Influence.Trees.Native;
using Xunit;

namespace Influence.Trees.Tests;

/// <summary>Small tables with a rule and some noise, the same on every machine.</summary>
internal static class Tables
{
    /// <summary>Four numbers and a category; targets for each loss.</summary>
    public static TabularExamples Of(BoostedTrees.LossKind loss, int count, int seed, bool missing = false, bool category = true)
    {
        var random = new Random(seed);
        var (features, targets) = (new double[count, 5], new double[count]);
        for (var i = 0; i < count; i++)
        {
            for (var f = 0; f < 4; f++)
            {
                features[i, f] = Math.Round(random.NextDouble() * 10, 3) - (f == 1 ? 5 : 0);
            }

            features[i, 4] = category ? random.Next(12) : 0;
            var rule = features[i, 0] + (features[i, 1] * features[i, 2] / 5) + (features[i, 4] % 3 * 3) + (random.NextDouble() * 3);
            targets[i] = loss switch
            {
                BoostedTrees.LossKind.SquaredError => rule,
                BoostedTrees.LossKind.Binary => rule > 7.5 ? 1 : 0,
                _ => rule > 9 ? 2
                : rule > 5 ? 1
                : 0,
            };
            if (missing && random.Next(6) == 0)
            {
                features[i, random.Next(4)] = double.NaN;
            }

            if (random.Next(8) == 0)
            {
                features[i, 3] = 0;
            }
        }

        return new TabularExamples(features, targets, [.. Enumerable.Range(0, count).Select(i => 100L + i)], missing);
    }

    public static string Objective(BoostedTrees.LossKind loss) =>
        loss switch
        {
            BoostedTrees.LossKind.SquaredError => "objective=regression",
            BoostedTrees.LossKind.Binary => "objective=binary",
            _ => "objective=multiclass num_class=3",
        };

    public static (BoostedTrees Model, TabularExamples Train, TabularExamples Queries) Trained(
        BoostedTrees.LossKind loss,
        int count = 120,
        int iterations = 8,
        string more = "",
        bool category = true
    )
    {
        var train = Of(loss, count, 1, category: category);
        var settings =
            $"{Objective(loss)} num_leaves=5 min_data_in_leaf=5 learning_rate=0.3 lambda_l2=0.5 "
            + $"{(category ? "categorical_feature=4" : string.Empty)} {more}";
        var (text, _) = LightGbm.Train(train, settings, iterations);
        var queries = Of(loss, 9, 2, category: category);
        return (BoostedTrees.ParseLightGbm(text), train, queries);
    }

    public static TheoryData<BoostedTrees.LossKind> Losses =>
        [BoostedTrees.LossKind.SquaredError, BoostedTrees.LossKind.Binary, BoostedTrees.LossKind.Multiclass];
}
