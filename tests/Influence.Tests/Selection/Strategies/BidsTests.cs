using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class BidsTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new Bids { Seed = seed };

    /// <summary>Worked by hand from A = [[3, 0], [2, 0], [0, 1], [0, 0.5], [1, 0.2]].</summary>
    [Fact]
    public void TheWorkedExample()
    {
        using var scope = NewDisposeScope();
        using var scores = Scores(
            new double[,]
            {
                { 3, 2, 0, 0, 1 },
                { 0, 0, 1, 0.5, 0.2 },
            }
        );
        var selected = new Bids().Select(scores, SelectionBudget.Fraction(1));
        Assert.Equal([2, 0, 1, 3, 4], selected.Ids);
        double[] expected = [1.748997, 2.572479, 0.428746, 0.441666, -0.214373];
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.Equal(expected[i], selected.Utilities[i], 1e-6); // six decimals are given
        }
    }

    /// <summary>The same as the definition, candidate by candidate; with many queries and few, and enough picks that every sorted part is
    /// used up.</summary>
    [Theory]
    [InlineData(1, 300, false)]
    [InlineData(5, 300, false)]
    [InlineData(16, 300, false)]
    [InlineData(60, 200, false)]
    [InlineData(4, 200, true)]
    public void EqualsTheNaiveLoop(int queries, int candidates, bool ties)
    {
        using var scope = NewDisposeScope();
        var random = new Random((queries * 1000) + candidates);
        var values = new double[queries, candidates];
        for (var i = 0; i < values.Length; i++)
        {
            values[i / candidates, i % candidates] = ties ? random.Next(4) : Math.Exp(2 * random.NextDouble());
        }

        using var scores = Scores(values);
        var selected = new Bids().Select(scores, SelectionBudget.Fraction(1));
        var z = Standardized(values);
        var picked = new List<int>();
        for (var step = 0; step < candidates; step++)
        {
            var best = (Utility: double.NegativeInfinity, Position: -1);
            for (var i = 0; i < candidates; i++)
            {
                if (!picked.Contains(i))
                {
                    var utility = Enumerable.Range(0, queries).Max(j => z[j, i] - (step == 0 ? 0 : picked.Sum(k => z[j, k]) / step));
                    best = utility > best.Utility + 1e-9 ? (utility, i) : best; // sums in another order differ in the last digits
                }
            }

            picked.Add(best.Position);
            Assert.Equal(best.Utility, selected.Utilities[step], 1e-9);
        }

        Assert.Equal(picked.Select(i => (long)i), selected.Ids);
    }

    /// <summary>Squares of such scores leave the range of float64; powers of two, so that nothing else changes.</summary>
    [Theory]
    [InlineData(-600)]
    [InlineData(600)]
    [InlineData(1021)]
    public void TheUnitOfScoresDoesNotMatter(int power)
    {
        using var scope = NewDisposeScope();
        var values = new double[,]
        {
            { 3, 2, 0, 0, 1 },
            { 0, 0, 1, 0.5, 0.2 },
        };
        using var plain = Scores(values);
        for (var i = 0; i < values.Length; i++)
        {
            values[i / 5, i % 5] = Math.ScaleB(values[i / 5, i % 5], power);
        }

        using var other = Scores(values);
        var (expected, found) = (new Bids().Select(plain, SelectionBudget.Count(4)), new Bids().Select(other, SelectionBudget.Count(4)));
        Assert.Equal(expected.Ids, found.Ids);
        Assert.Equal(expected.Utilities, found.Utilities);
    }

    [Fact]
    public void ConstantQueriesAreLeftOutAndNamed()
    {
        using var scope = NewDisposeScope();
        // Three times 0.1: the mean of the row is not exactly its value.
        using var scores = Scores(
            new double[,]
            {
                { 0.1, 0.1, 0.1 },
                { 1, 3, 2 },
                { 0, 0, 0 },
            }
        );
        var selected = new Bids().Select(scores, SelectionBudget.Count(2));
        Assert.Equal([1, 2], selected.Ids);
        Assert.Contains("queries 0, 2", Assert.Single(selected.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void OnlyConstantQueriesAreAnError()
    {
        using var scope = NewDisposeScope();
        using var scores = Scores(
            new double[,]
            {
                { 2, 2, 2 },
                { 5, 5, 5 },
            }
        );
        var thrown = Assert.Throws<InfluenceException>(() => new Bids().Select(scores, SelectionBudget.Count(2)));
        Assert.Contains("alike", thrown.Message, StringComparison.Ordinal);
    }

    private static double[,] Standardized(double[,] values)
    {
        var z = (double[,])values.Clone();
        var n = values.GetLength(1);
        for (var j = 0; j < values.GetLength(0); j++)
        {
            var mean = Enumerable.Range(0, n).Average(i => values[j, i]);
            var deviation = Math.Sqrt(Enumerable.Range(0, n).Average(i => Math.Pow(values[j, i] - mean, 2)));
            for (var i = 0; i < n; i++)
            {
                z[j, i] = (values[j, i] - mean) / deviation;
            }
        }

        return z;
    }

    private static InfluenceScores Scores(double[,] values) =>
        new(
            tensor(values),
            [.. Enumerable.Range(0, values.GetLength(0))],
            [.. Enumerable.Range(0, values.GetLength(1))],
            new ScoreMetadata { Estimator = "made up", Unit = "loss" }
        );
}
