using Influence.Trees.Native;
using Xunit;
using LossKind = Influence.Trees.BoostedTrees.LossKind;

namespace Influence.Trees.Tests;

/// <summary>The reader's predictions are LightGBM's: the same comparisons in double precision, and sums in the same order, so 1e-10 is
/// generous.</summary>
public class ReaderTests
{
    [LightGbmTheory]
    [InlineData(LossKind.SquaredError, "")]
    [InlineData(LossKind.SquaredError, "boost_from_average=false")]
    [InlineData(LossKind.SquaredError, "zero_as_missing=true")]
    [InlineData(LossKind.SquaredError, "use_missing=false")]
    [InlineData(LossKind.Binary, "")]
    [InlineData(LossKind.Binary, "sigmoid=0.7")]
    [InlineData(LossKind.Binary, "boosting=dart drop_rate=0.5")]
    [InlineData(LossKind.Multiclass, "")]
    public void It_predicts_as_LightGBM_does(LossKind loss, string more)
    {
        var train = Tables.Of(loss, 400, 1, missing: true);
        var queries = Tables.Of(loss, 300, 2, missing: true);

        var (text, expected) = LightGbm.Train(
            train,
            $"{Tables.Objective(loss)} num_leaves=15 min_data_in_leaf=5 min_data_per_group=5 categorical_feature=4 {more}",
            20,
            queries
        );
        var model = BoostedTrees.ParseLightGbm(text);
        var raw = model.Raw(queries);

        Assert.Equal(loss, model.Loss);
        Assert.Equal(20, model.Iterations);
        Assert.Equal(5, model.FeatureCount);
        Assert.Contains(model.Trees, tree => tree.Sets.Length > 0);
        for (var i = 0; i < queries.Count; i++)
        {
            for (var k = 0; k < model.Outputs; k++)
            {
                Assert.Equal(expected[i, k], raw[i, k], 1e-10);
            }
        }
    }

    [LightGbmFact]
    public void Categories_that_the_training_did_not_see_go_where_LightGBM_sends_them()
    {
        var train = Tables.Of(LossKind.SquaredError, 400, 1);
        double[,] rows =
        {
            { 5, 0, 5, 5, 40 },
            { 5, 0, 5, 5, -1 },
            { 5, 0, 5, 5, double.NaN },
            { 5, 0, 5, 5, 3.7 },
            { double.NaN, 0, 5, 5, 1e9 },
        };
        var queries = new TabularExamples(rows, new double[5], missing: true);

        var (text, expected) = LightGbm.Train(
            train,
            "objective=regression num_leaves=15 min_data_in_leaf=5 min_data_per_group=5 categorical_feature=4",
            20,
            queries
        );
        var raw = BoostedTrees.ParseLightGbm(text).Raw(queries);

        for (var i = 0; i < queries.Count; i++)
        {
            Assert.Equal(expected[i, 0], raw[i, 0], 1e-10);
        }
    }

    [LightGbmFact]
    public void A_model_without_a_split_is_its_average()
    {
        var train = new TabularExamples(
            new double[,]
            {
                { 1 },
                { 1 },
                { 1 },
            },
            [1, 2, 6]
        );

        var model = BoostedTrees.ParseLightGbm(LightGbm.Train(train, "objective=regression", 3).Text);

        Assert.Equal(3, model.Raw(train)[0, 0], 1e-6);
    }

    [LightGbmFact]
    public void Predictions_and_losses_follow_from_raw_scores()
    {
        var (model, train, _) = Tables.Trained(LossKind.Multiclass);

        var (raw, predictions, losses) = (model.Raw(train), model.Predict(train), model.Losses(train));

        Assert.Equal(1, predictions[3, 0] + predictions[3, 1] + predictions[3, 2], 1e-12);
        Assert.Equal(-Math.Log(predictions[3, (int)train.Targets[3]]), losses[3], 1e-12);
        Assert.Equal(Math.Exp(raw[3, 1] - raw[3, 0]), predictions[3, 1] / predictions[3, 0], 1e-10);
    }

    [LightGbmFact]
    public void Other_objectives_and_broken_files_are_refused_by_name()
    {
        var train = Tables.Of(LossKind.Binary, 100, 1);
        var good = LightGbm.Train(train, "objective=binary num_leaves=4", 2).Text;

        Assert.Contains(
            "\"regression_l1\"",
            Message(LightGbm.Train(train, "objective=regression_l1 num_leaves=4", 2).Text),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "\"multiclassova",
            Message(LightGbm.Train(train, "objective=multiclassova num_class=3", 2).Text),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "random forest",
            Message(LightGbm.Train(train, "objective=binary boosting=rf bagging_freq=1 bagging_fraction=0.5", 2).Text),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "linear",
            Message(LightGbm.Train(train, "objective=regression linear_tree=true num_leaves=4 min_data_in_leaf=10", 2).Text),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "reg_sqrt",
            Message(LightGbm.Train(train, "objective=binary", 2).Text.Replace("reg_sqrt: 0", "reg_sqrt: 1", StringComparison.Ordinal)),
            StringComparison.Ordinal
        );
        Assert.Contains("does not begin", Message("{ }"), StringComparison.Ordinal);
        Assert.Contains("not whole", Message(good[..good.IndexOf("Tree=1", StringComparison.Ordinal)]), StringComparison.Ordinal);
        Assert.Contains(
            "numbers where",
            Message(good.Replace("leaf_value=", "leaf_value=1 ", StringComparison.Ordinal)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "no tree",
            Message(
                string.Join(
                    '\n',
                    good.Split('\n')
                        .Select(l =>
                            l.StartsWith("left_child", StringComparison.Ordinal)
                                ? $"left_child={string.Join(' ', l.Split(' ').Select(_ => "1"))}"
                                : l
                        )
                )
            ),
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => BoostedTrees.LoadLightGbm("no-such-model.txt"));

        static string Message(string text) => Assert.Throws<InfluenceException>(() => BoostedTrees.ParseLightGbm(text)).Message;
    }

    [LightGbmFact]
    public void A_file_is_read_as_its_text()
    {
        var path = Path.GetTempFileName();
        try
        {
            var (text, _) = LightGbm.Train(
                Tables.Of(LossKind.Binary, 100, 1),
                "objective=binary num_leaves=4 lambda_l2=2 learning_rate=0.2",
                2
            );
            File.WriteAllText(path, text);

            var model = BoostedTrees.LoadLightGbm(path);

            Assert.Equal((2, 2.0, 0.2, "Column_0"), (model.Iterations, model.L2, model.LearningRate, model.FeatureNames[0]));
        }
        finally
        {
            File.Delete(path);
        }
    }
}
