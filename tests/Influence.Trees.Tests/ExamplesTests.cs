using Xunit;
using LossKind = Influence.Trees.BoostedTrees.LossKind;

namespace Influence.Trees.Tests;

/// <summary>What is refused, before anything is scored.</summary>
public class ExamplesTests
{
    private static readonly double[,] s_rows =
    {
        { 1, 2 },
        { 3, 4 },
    };

    [Fact]
    public void Rows_targets_and_ids_are_checked()
    {
        Assert.Contains("At least one row", Message(() => new TabularExamples(new double[0, 2], [])), StringComparison.Ordinal);
        Assert.Contains("2 rows, 1 targets", Message(() => new TabularExamples(s_rows, [1])), StringComparison.Ordinal);
        Assert.Contains("(1 different)", Message(() => new TabularExamples(s_rows, [1, 2], [7, 7])), StringComparison.Ordinal);
        Assert.Contains(
            "missing: true",
            Message(() =>
                new TabularExamples(
                    new double[,]
                    {
                        { 1, double.NaN },
                    },
                    [1]
                )
            ),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "feature 0 of example 9",
            Message(() =>
                new TabularExamples(
                    new double[,]
                    {
                        { double.PositiveInfinity },
                    },
                    [1],
                    [9],
                    missing: true
                )
            ),
            StringComparison.Ordinal
        );
        Assert.Contains("Targets are finite", Message(() => new TabularExamples(s_rows, [1, double.NaN])), StringComparison.Ordinal);
        Assert.Contains("no example with id 5", Message(() => new TabularExamples(s_rows, [1, 2]).Only([5])), StringComparison.Ordinal);
        Assert.Contains("At least one row", Message(() => new TabularExamples(s_rows, [1, 2]).Without([0, 1])), StringComparison.Ordinal);
    }

    [Fact]
    public void Parts_keep_ids_and_rows()
    {
        var examples = new TabularExamples(s_rows, [5, 6], [10, 20]);

        Assert.Equal([20L], examples.Without([10]).Ids);
        Assert.Equal(4, examples.Only([20, 10])[0, 1]);
        Assert.Equal([8.0, 9], examples.WithTargets([8, 9]).Targets);
    }

    [LightGbmTheory]
    [MemberData(nameof(EstimatorTests.Estimators), MemberType = typeof(EstimatorTests))]
    public void Examples_that_are_not_the_models_are_refused(TreeEstimator estimator)
    {
        var (model, train, queries) = Tables.Trained(LossKind.Binary);

        Assert.Contains(
            "2 features, and the model was trained on 5",
            Message(() => estimator.Score(model, train, new TabularExamples(s_rows, [0, 1]))),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "0 or 1",
            Message(() => estimator.Score(model, train, queries.WithTargets([.. queries.Targets.Select(_ => 2.0)]))),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "0 or 1",
            Message(() => estimator.SelfInfluence(model, train.WithTargets([.. train.Targets.Select(_ => 0.5)]))),
            StringComparison.Ordinal
        );
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Throws<OperationCanceledException>(() => estimator.Score(model, train, queries, cancellationToken: cancelled.Token));
    }

    [LightGbmFact]
    public void Leaf_values_that_do_not_follow_from_the_examples_are_refused()
    {
        var (model, train, queries) = Tables.Trained(LossKind.SquaredError);
        var other = train.WithTargets([.. train.Targets.Select((t, i) => i == 3 ? t + 5 : t)]);

        Assert.Contains(
            "do not follow from these training examples",
            Message(() => new LeafRefit().Score(model, other, queries)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "do not follow from these training examples",
            Message(() => new LeafInfluence().Score(model, train.Without([100]), queries)),
            StringComparison.Ordinal
        );
        new BoostIn().Score(model, other, queries).Dispose();

        var (sampled, its, _) = Tables.Trained(LossKind.SquaredError, more: "bagging_freq=1 bagging_fraction=0.5");
        Assert.Contains("bagging", Message(() => LeafRefit.Without(sampled, its, [100])), StringComparison.Ordinal);
        var (lasso, same, _) = Tables.Trained(LossKind.SquaredError, more: "lambda_l1=1");
        Assert.Contains("lambda_l1 = 1", Message(() => new LeafRefit().SelfInfluence(lasso, same)), StringComparison.Ordinal);
        Assert.Contains(
            "At least one training example stays",
            Message(() => LeafRefit.Without(model, train, [.. train.Ids])),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void Settings_are_judged_where_they_are_set()
    {
        Assert.Throws<InfluenceException>(() => new Trex { L2 = 0 });
        Assert.Throws<InfluenceException>(() => new Trex { Kernel = (TreeKernel)9 });
        Assert.Throws<InfluenceException>(() => new TreeSimilarity { Kernel = (TreeKernel)9 });
    }

    private static string Message(Func<object> act) => Assert.Throws<InfluenceException>(act).Message;
}
