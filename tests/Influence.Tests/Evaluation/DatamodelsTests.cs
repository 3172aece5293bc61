using Influence.Evaluation;
using Influence.Tests.Oracles;
using MathNet.Numerics.LinearAlgebra;
using TorchSharp;
using Xunit;
using static Influence.Tests.Evaluation.EvaluationCases;
using static TorchSharp.torch;

namespace Influence.Tests.Evaluation;

/// <summary>Datamodels by ridge and lasso.</summary>
public class DatamodelsTests
{
    private const int Train = 12;
    private static readonly Subsets s_subsets = Subsets.Random(Ids(Train, first: 50), 0.4, 60, seed: 1);

    [Theory]
    [InlineData(Datamodels.Kind.Lasso)]
    [InlineData(Datamodels.Kind.Ridge)]
    public void AnAdditiveModelIsRecovered(Datamodels.Kind regression)
    {
        var weights = Random(3, Train, 2);
        using var fit = new Datamodels { Regression = regression, Penalties = [1e-7] }.Fit(Additive(weights, s_subsets));

        // All subsets have one size, so the weights are known up to a constant that the penalty chooses: the smallest.
        for (var q = 0; q < 3; q++)
        {
            var offset = fit.Scores[q, 0] - weights[q, 0];
            Assert.All(Enumerable.Range(0, Train), i => Assert.Equal(weights[q, i] + offset, fit.Scores[q, i], 4));
        }

        Assert.Equal(s_subsets.TrainIds, fit.Scores.TrainIds);
        Assert.True(double.IsNaN(fit.HeldBack.Value));
        Assert.Equal(
            1,
            new Lds { Bootstrap = Quick }
                .Evaluate(fit.Scores, Additive(weights, s_subsets))
                .Mean.Value,
            6
        );

        // As a truth: the weights themselves are ordered as the datamodel's.
        using var scope = NewDisposeScope();
        using var truth = Scores(weights, trainIds: s_subsets.TrainIds);
        Assert.Equal(
            1,
            new RankAgreement { Bootstrap = Quick }
                .Evaluate(truth, fit.Scores)
                .Mean.Value,
            12
        );
    }

    [Fact]
    public void WithSubsetsOfUnlikeSizesInterceptAndWeightsAreExact()
    {
        var subsets = Mixed();
        var weights = Random(1, Train, 2);
        foreach (var regression in Enum.GetValues<Datamodels.Kind>())
        {
            using var fit = new Datamodels { Regression = regression, Penalties = [1e-8] }.Fit(Additive(weights, subsets));
            Assert.All(Enumerable.Range(0, Train), i => Assert.Equal(weights[0, i], fit.Scores[0, i], 5));

            // The additive model's reward without data is -3.
            Assert.Equal(-3, fit.Intercepts[0], 5);
        }
    }

    [Fact]
    public void TheLargestPenaltyLeavesNoWeightAndOthersMeetTheOptimality()
    {
        var subsets = Mixed();
        var runs = Additive(Random(1, Train, 2), subsets, noise: 1);
        using (var none = new Datamodels { Penalties = [1.0000001] }.Fit(runs))
        {
            Assert.All(none.Scores.ForQuery(0).Values, w => Assert.Equal(0, w));
        }

        using (var one = new Datamodels { Penalties = [0.99] }.Fit(runs))
        {
            Assert.Single(one.Scores.ForQuery(0).Values, w => w != 0);
        }

        using var fit = new Datamodels { Penalties = [0.3] }.Fit(runs);
        var m = subsets.Count;
        double[] rewards = [.. Enumerable.Range(0, m).Select(j => -runs[j, 0])];
        double[] residuals =
        [
            .. Enumerable
                .Range(0, m)
                .Select(j =>
                    rewards[j] - fit.Intercepts[0] - Enumerable.Range(0, Train).Where(subsets[j].Contains).Sum(i => fit.Scores[0, i])
                ),
        ];
        var penalty = 0.3 * Enumerable.Range(0, Train).Max(i => Math.Abs(Correlation(i, [.. rewards.Select(y => y - rewards.Average())])));
        Assert.Equal(0, residuals.Sum(), 9);
        Assert.Contains(fit.Scores.ForQuery(0).Values, w => w == 0);
        for (var i = 0; i < Train; i++)
        {
            // At the minimum the gradient is the penalty, with the weight's sign, or less where there is no weight; to the 1e-7
            // of the spread at which the descent ends.
            var (gradient, weight) = (Correlation(i, residuals), fit.Scores[0, i]);
            if (weight == 0)
            {
                Assert.InRange(Math.Abs(gradient), 0, penalty + 1e-6);
            }
            else
            {
                Assert.Equal(Math.Sign(weight) * penalty, gradient, 6);
            }
        }

        double Correlation(int i, double[] values) => Enumerable.Range(0, m).Where(j => subsets[j].Contains(i)).Sum(j => values[j]) / m;
    }

    [Fact]
    public void RidgeIsTheNormalEquations()
    {
        var subsets = Mixed();
        var runs = Additive(Random(2, Train, 2), subsets, noise: 1);
        using var fit = new Datamodels { Regression = Datamodels.Kind.Ridge, Penalties = [0.5] }.Fit(runs);

        var m = subsets.Count;
        var masks = Matrix<double>.Build.Dense(m, Train, (j, i) => subsets[j].Contains(i) ? 1 : 0);
        var centred = masks - (Matrix<double>.Build.Dense(m, 1, 1) * (masks.ColumnSums() / m).ToRowMatrix());
        var y = Vector<double>.Build.Dense(m, j => -runs[j, 1]);
        var penalty = 0.5 * (centred * centred.Transpose()).Trace() / m / m;
        var expected = ((centred.TransposeThisAndMultiply(centred) / m) + (penalty * Matrix<double>.Build.DenseIdentity(Train))).Solve(
            centred.TransposeThisAndMultiply(y - y.Average()) / m
        );

        Assert.All(Enumerable.Range(0, Train), i => Assert.Equal(expected[i], fit.Scores[1, i], 9));
    }

    [Theory]
    [InlineData(Datamodels.Kind.Lasso)]
    [InlineData(Datamodels.Kind.Ridge)]
    public void ThePenaltyIsChosenOnSubsetsHeldBack(Datamodels.Kind regression)
    {
        // Two examples matter, and the noise is larger than what they do: the smallest penalty would fit it.
        var weights = new double[4, Train];
        for (var q = 0; q < 4; q++)
        {
            (weights[q, q], weights[q, 8]) = (1, -1);
        }

        var runs = Additive(weights, Mixed(), noise: 2);
        var progress = new Reports();
        var model = new Datamodels { Regression = regression, Bootstrap = Quick };
        using var chosen = model.Fit(runs, progress);
        using var again = model.Fit(runs);
        using var smallest = (model with { Penalties = [1e-6] }).Fit(runs);

        Assert.Equal(chosen.Penalties, again.Penalties);
        Assert.Equal(regression == Datamodels.Kind.Lasso ? 4 : 0, progress.All.Count);
        Assert.True(Error(chosen) < Error(smallest), $"{Error(chosen)} {Error(smallest)}");
        Assert.True(chosen.HeldBack.Value > 0.2, chosen.HeldBack.ToString());
        Assert.Contains("rank correlation", chosen.ToString(), StringComparison.Ordinal);

        double Error(Datamodels.Result fit) =>
            Enumerable.Range(0, 4).Sum(q => Enumerable.Range(0, Train).Sum(i => Math.Pow(fit.Scores[q, i] - weights[q, i], 2)));
    }

    [Fact]
    public void TooFewSubsetsAreRefused()
    {
        var thrown = Assert.Throws<InfluenceException>(() =>
            new Datamodels().Fit(Additive(Random(1, Train, 1), Subsets.Half(Ids(Train), 9, seed: 1)))
        );
        Assert.Contains("at least ten subsets, better hundreds; found 9", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NothingIsLeftBehind()
    {
        var runs = Additive(Random(2, Train, 2), s_subsets, noise: 1);
        using var scope = NewDisposeScope();
        using var fit = new Datamodels { Regression = Datamodels.Kind.Ridge }.Fit(runs);
        Assert.Equal(0, scope.DisposablesCount);
    }

    private static Subsets Mixed()
    {
        var all = Subsets.Random(Ids(Train), 0.4, 40, seed: 1).Concat(Subsets.Random(Ids(Train), 0.6, 40, seed: 2)).ToList();
        return Subsets.Of(Ids(Train), [.. all.Select(s => (s.Name, (IEnumerable<long>)s.Ids))]);
    }
}
