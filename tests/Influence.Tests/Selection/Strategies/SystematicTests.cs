using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class SystematicTests : SelectionStrategyContract
{
    private const int Draws = 4000;

    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) => new Systematic { Seed = seed, Aggregation = ScoreAggregation.MeanRank };

    /// <summary>k = 3, weights 1, 2, 3, 10, 0, 4: the fourth is capped, the others share 2 of 10: 0.2, 0.4, 0.6, 1, 0, 0.8.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void InclusionFrequenciesAreTheProbabilities(bool shuffle)
    {
        double[] expected = [0.2, 0.4, 0.6, 1, 0, 0.8];
        using var pool = new SelectionPool(ExampleScores.Of([0, 1, 2, 3, 4, 5], [1, 2, 3, 10, 0, 4]));
        var frequencies = new double[6];
        for (var seed = 0; seed < Draws; seed++)
        {
            var selected = new Systematic { Seed = seed, Shuffle = shuffle }.Select(pool, SelectionBudget.Count(3));
            Assert.Equal(3, selected.Count);
            for (var i = 0; i < 3; i++)
            {
                frequencies[selected.Ids[i]] += 1.0 / Draws;
                Assert.Equal(expected[selected.Ids[i]], selected.Utilities[i], 1e-12);
            }
        }

        // Four standard deviations of a frequency: 4 sqrt(0.25 / 4,000) = 0.032.
        Assert.All(frequencies.Zip(expected), pair => Assert.Equal(pair.Second, pair.First, 0.032));
    }

    [Fact]
    public void WeightedSumsHaveTheSumOverAllAsTheirMean()
    {
        double[] scores = [.. Enumerable.Range(0, 20).Select(i => 1.0 + (i % 7))];
        using var pool = new SelectionPool(ExampleScores.Of([.. Enumerable.Range(0, 20)], scores));
        var (weights, squares) = (0.0, 0.0);
        for (var seed = 0; seed < Draws; seed++)
        {
            var selected = new Systematic
            {
                Seed = seed,
                Shuffle = true,
                InverseProbabilityWeights = true,
            }.Select(pool, SelectionBudget.Count(5));
            weights += selected.Weights.Sum() / Draws;
            squares += selected.Ids.Zip(selected.Weights, (id, weight) => weight * id * id).Sum() / Draws;
        }

        // The number of candidates, and the sum of their squared ids; the spread of one draw is below the mean itself.
        Assert.Equal(20, weights, 20 * 4 / Math.Sqrt(Draws));
        Assert.Equal(2470, squares, 2470 * 4 / Math.Sqrt(Draws));
    }

    [Fact]
    public void TheWholePoolHasProbabilityOne()
    {
        using var pool = new SelectionPool(ExampleScores.Of([1, 2, 3], [0.1, 0.2, 7]));
        Assert.Equal(
            [1.0, 1.0, 1.0],
            new Systematic { InverseProbabilityWeights = true }
                .Select(pool, SelectionBudget.Count(3))
                .Weights
        );
    }

    /// <summary>Tokens: the expected tokens are the budget, so a long example is no less likely than a short one of the same
    /// score.</summary>
    [Fact]
    public void TokensAreSpentInProportionToTheScore()
    {
        using var pool = new SelectionPool(
            ExampleScores.Of([.. Enumerable.Range(0, 200)], [.. Enumerable.Range(0, 200).Select(i => 1.0 + (i % 2))])
        )
        {
            Lengths = [.. Enumerable.Range(0, 200).Select(i => 1L + (i / 100))],
        };
        var (heavy, light, tokens) = (0, 0, 0L);
        for (var seed = 0; seed < 400; seed++)
        {
            var selected = new Systematic { Seed = seed, Shuffle = true }.Select(pool, SelectionBudget.Tokens(90));
            heavy += selected.Ids.Count(id => id % 2 == 1);
            light += selected.Ids.Count(id => id % 2 == 0);
            tokens += selected.Ids.Sum(id => pool.Lengths![(int)id]);
        }

        Assert.Equal(2, (double)heavy / light, 0.1); // 400 draws of 60: a standard deviation of about 0.025
        Assert.Equal(90 * 400, tokens);
    }

    [Fact]
    public void WhatCannotBeDrawnIsRefused()
    {
        var negative = ExampleScores.Of([4, 5, 6], [1, -1, 2]);
        Assert.Contains(
            "5",
            Assert.Throws<InfluenceException>(() => new Systematic().Select(negative, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
        var zeros = ExampleScores.Of([4, 5, 6], [1, 0, 0]);
        Assert.Contains(
            "only 1 of 3",
            Assert.Throws<InfluenceException>(() => new Systematic().Select(zeros, SelectionBudget.Count(2))).Message,
            StringComparison.Ordinal
        );
        using var pool = new SelectionPool(ExampleScores.Of([4, 5], [1, 2])) { Lengths = [3, 3] };
        Assert.Throws<InfluenceException>(() =>
            new Systematic { InverseProbabilityWeights = true }.Select(pool, SelectionBudget.Tokens(3))
        );
    }
}
