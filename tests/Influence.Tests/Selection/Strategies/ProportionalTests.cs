using Influence.Selection;
using Influence.Tests.Contracts;
using Xunit;

namespace Influence.Tests.Selection;

public sealed class ProportionalTests : SelectionStrategyContract
{
    private const int Draws = 20_000;

    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) => new Proportional { Seed = seed };

    /// <summary>The first pick is distributed as the softmax, the second as the softmax over the other two.</summary>
    [Fact]
    public void TheFirstPicksAreDistributedAsTheSoftmax()
    {
        using var pool = new SelectionPool(ExampleScores.Of([0, 1, 2], [0, -1, -2]));
        var (first, second) = (new double[3], new double[3]);
        for (var seed = 0; seed < Draws; seed++)
        {
            var ids = new Proportional { Seed = seed }
                .Select(pool, SelectionBudget.Count(2))
                .Ids;
            first[ids[0]] += 1.0 / Draws;
            second[ids[1]] += 1.0 / Draws;
        }

        double[] softmax = [0.665241, 0.244728, 0.090031];
        for (var i = 0; i < 3; i++)
        {
            var expected = Enumerable.Range(0, 3).Where(j => j != i).Sum(j => softmax[j] * softmax[i] / (1 - softmax[j]));
            // Four standard deviations of a frequency, at most 4 sqrt(0.25 / 20,000) = 0.014.
            Assert.Equal(softmax[i], first[i], 0.014);
            Assert.Equal(expected, second[i], 0.014);
        }
    }

    [Fact]
    public void TowardsZeroItIsTopK()
    {
        using var pool = Pool([.. Enumerable.Range(0, 60)]);
        Assert.Equal(
            new TopK().Select(pool, SelectionBudget.Count(20)).Ids,
            new Proportional { Temperature = 1e-9 }
                .Select(pool, SelectionBudget.Count(20))
                .Ids
        );
    }

    [Fact]
    public void StandardizedScoresHaveNoUnit()
    {
        long[] ids = [.. Enumerable.Range(0, 40)];
        double[] scores = [.. ids.Select(id => Math.Sin(id))];
        var strategy = new Proportional { Standardize = true, Temperature = 0.5 };
        var plain = strategy.Select(ExampleScores.Of(ids, scores), SelectionBudget.Count(10));
        var tiny = strategy.Select(ExampleScores.Of(ids, [.. scores.Select(s => s * Math.ScaleB(1, -20))]), SelectionBudget.Count(10));
        Assert.Equal(plain.Ids, tiny.Ids);
        Assert.NotEqual(
            plain.Ids,
            new Proportional { Temperature = 0.5 }
                .Select(ExampleScores.Of(ids, [.. scores.Select(s => s * 1e-6)]), SelectionBudget.Count(10))
                .Ids
        );
    }

    [Fact]
    public void ConstantScoresGiveAUniformSample()
    {
        var scores = ExampleScores.Of([1, 2, 3, 4], [3, 3, 3, 3]);
        var first = Enumerable
            .Range(0, 4000)
            .CountBy(seed =>
                new Proportional { Seed = seed, Standardize = true }
                    .Select(scores, SelectionBudget.Count(1))
                    .Ids[0]
            );
        // 1,000 on average, standard deviation 27; four of them.
        Assert.All(first, pair => Assert.InRange(pair.Value, 890, 1110));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void ATemperatureIsAboveZero(double temperature) =>
        Assert.Throws<InfluenceException>(() => new Proportional { Temperature = temperature });
}
