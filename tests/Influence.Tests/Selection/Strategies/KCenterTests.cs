using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class KCenterTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new KCenter { Seed = seed };

    /// <summary>Points 0, 1, 10 from 0: the next is 10, and 1 is at distance 1 of a pick.</summary>
    [Fact]
    public void PointsOnALine()
    {
        using var pool = FacilityLocationTests.Pool(
            new double[,]
            {
                { 0 },
                { 1 },
                { 10 },
            }
        );
        var selected = new KCenter { First = 0 }.Select(pool, SelectionBudget.Count(3));
        Assert.Equal([0, 2, 1], selected.Ids);
        Assert.Equal([10, 10, 1], selected.Utilities);
        Assert.Equal(1, new KCenter().Select(pool, SelectionBudget.Count(1)).Ids[0]);
    }

    [Fact]
    public void EqualsTheDefinitionAndIsWithinTwiceTheBestRadius()
    {
        for (var seed = 0; seed < 8; seed++)
        {
            var features = CoverageReference.Features(11, 3, seed);
            var distances = CoverageReference.Distances(features, 2);
            using var pool = FacilityLocationTests.Pool(features);
            var selected = new KCenter { First = 4 }.Select(pool, SelectionBudget.Count(4));
            List<int> expected = [4];
            while (expected.Count < 4)
            {
                expected.Add(Enumerable.Range(0, 11).MaxBy(i => expected.Min(j => distances[i, j])));
            }

            Assert.Equal(expected, selected.Ids.Select(id => (int)id));
            Assert.True(Radius(expected) <= 2 * CoverageReference.Subsets(11, 4).Min(Radius));

            double Radius(IReadOnlyList<int> picks) => Enumerable.Range(0, 11).Max(i => picks.Min(j => distances[i, j]));
        }
    }

    /// <summary>More candidates than are kept up to date pick by pick, some of them equal: against looking at all for each pick.</summary>
    [Fact]
    public void LargePoolsEqualThePlainLoop()
    {
        using var scope = NewDisposeScope();
        var generator = new Random(3);
        var n = 20_000;
        var values = Enumerable.Range(0, n * 3).Select(_ => Math.Round(generator.NextDouble() * 40) / 4).ToArray();
        var features = tensor(values, [n, 3]);
        using var pool = new SelectionPool([.. Enumerable.Range(0, n).Select(i => (long)i)]) { Features = features };
        var selected = new KCenter { First = 7 }.Select(pool, SelectionBudget.Count(400));

        // Ties are many on this grid, and rounding may choose among them: each pick is as far from the earlier ones as the farthest
        // candidate.
        var nearest = (features - features[7]).Squared().sum([1L]);
        for (var i = 1; i < 400; i++)
        {
            var farthest = nearest.max().item<double>();
            Assert.Equal(farthest, nearest[selected.Ids[i]].item<double>(), 1e-9);
            Assert.Equal(Math.Sqrt(farthest), selected.Utilities[i], 1e-9);
            nearest = nearest.minimum((features - features[selected.Ids[i]]).Squared().sum([1L]));
        }
    }

    [Theory]
    [InlineData(50)]
    [InlineData(17_000)]
    public void IdenticalPointsAreTakenInOrder(int n)
    {
        using var scope = NewDisposeScope();
        var features = cat([full([n, 4], 0.1f), ones(1, 4)]);
        using var pool = new SelectionPool([.. Enumerable.Range(0, n + 1).Select(i => (long)i)]) { Features = features };
        var selected = new KCenter().Select(pool, SelectionBudget.Count(5));
        Assert.Equal([0, n, 1, 2, 3], selected.Ids);
        Assert.Equal(0, selected.Utilities[4]);
    }

    /// <summary>Squares of such points leave the range of float32; powers of two, so that nothing else changes.</summary>
    [Theory]
    [InlineData(66)]
    [InlineData(-80)]
    public void TheUnitOfPointsDoesNotMatter(int power)
    {
        using var scope = NewDisposeScope();
        var features = tensor(CoverageReference.Features(30, 4, 2)).to_type(ScalarType.Float32);
        using var plain = new SelectionPool([.. Enumerable.Range(0, 30).Select(i => (long)i)]) { Features = features };
        using var other = new SelectionPool([.. Enumerable.Range(0, 30).Select(i => (long)i)])
        {
            Features = features * Math.ScaleB(1, power),
        };
        var (expected, found) = (
            new KCenter().Select(plain, SelectionBudget.Count(6)),
            new KCenter().Select(other, SelectionBudget.Count(6))
        );
        Assert.Equal(expected.Ids, found.Ids);
        Assert.Equal(expected.Utilities.Select(u => Math.ScaleB(u, power)), found.Utilities);
    }

    [Fact]
    public void BadInputIsSaid()
    {
        using var pool = FacilityLocationTests.Pool(CoverageReference.Features(4, 2, 1));
        Assert.Contains(
            "id 9",
            Assert.Throws<InfluenceException>(() => new KCenter { First = 9 }.Select(pool, SelectionBudget.Count(2))).Message,
            StringComparison.Ordinal
        );
        using var bare = new SelectionPool([1, 2]);
        Assert.Throws<InfluenceException>(() => new KCenter().Select(bare, SelectionBudget.Count(1)));
    }
}
