using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class MmrTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new Mmr { Seed = seed };

    /// <summary>Relevance 1, .9, .5; cosines .95, .1, .1.</summary>
    [Fact]
    public void ThreeItems()
    {
        using var pool = ThreeItemPool();
        var selected = new Mmr { Scale = RelevanceScale.Raw }.Select(pool, SelectionBudget.Count(3));
        Assert.Equal([0, 2, 1], selected.Ids);
        Assert.Equal(0.5, selected.Utilities[0], 1e-12);
        Assert.Equal(0.2, selected.Utilities[1], 1e-12);
        Assert.Equal(-0.025, selected.Utilities[2], 1e-12);
    }

    [Theory]
    [InlineData(0.3)]
    [InlineData(0.8)]
    public void EqualsTheDefinition(double lambda)
    {
        using var scope = NewDisposeScope();
        var features = CoverageReference.Features(40, 5, 3);
        var cosines = CoverageReference.Cosine(features);
        double[] scores = [.. Enumerable.Range(0, 40).Select(i => Math.Sin(i * 1.7))];
        using var pool = new SelectionPool(ExampleScores.Of([.. Enumerable.Range(0, 40).Select(i => (long)i)], scores))
        {
            Features = tensor(features),
        };
        var selected = new Mmr { Lambda = lambda, Scale = RelevanceScale.UnitRange }.Select(pool, SelectionBudget.Count(15));
        var relevance = scores.Select(s => (s - scores.Min()) / (scores.Max() - scores.Min())).ToArray();
        List<int> expected = [Array.IndexOf(relevance, 1.0)];
        while (expected.Count < 15)
        {
            expected.Add(
                Enumerable
                    .Range(0, 40)
                    .Except(expected)
                    .MaxBy(i => (lambda * relevance[i]) - ((1 - lambda) * expected.Max(j => (2 * cosines[i, j]) - 1)))
            );
        }

        Assert.Equal(expected, selected.Ids.Select(id => (int)id));
    }

    [Fact]
    public void LambdaOneIsTopK()
    {
        using var pool = ThreeItemPool();
        Assert.Equal(
            [0, 1, 2],
            new Mmr { Lambda = 1 }
                .Select(pool, SelectionBudget.Count(3))
                .Ids
        );
    }

    [Fact]
    public void BadInputIsSaid()
    {
        Assert.Throws<InfluenceException>(() => new Mmr { Lambda = 1.1 });
        using var pool = FacilityLocationTests.Pool(CoverageReference.Features(4, 2, 1));
        Assert.Contains(
            "reads scores",
            Assert.Throws<InfluenceException>(() => new Mmr().Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>Rows of the Cholesky factor of the matrix of cosines: unit vectors with these cosines.</summary>
    internal static SelectionPool ThreeItemPool()
    {
        using var scope = NewDisposeScope();
        var cosines = tensor(
            new[,]
            {
                { 1, 0.95, 0.1 },
                { 0.95, 1, 0.1 },
                { 0.1, 0.1, 1 },
            }
        );
        return new SelectionPool(ExampleScores.Of([0, 1, 2], [1, 0.9, 0.5])) { Features = linalg.cholesky(cosines) };
    }
}
