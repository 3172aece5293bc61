using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class FacilityLocationTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new FacilityLocation { Seed = seed };

    /// <summary>Points 0, 1, 10, 11, 12 on a line; similarity 12 - distance.</summary>
    [Fact]
    public void PointsOnALine()
    {
        using var pool = Pool(
            new double[,]
            {
                { 0 },
                { 1 },
                { 10 },
                { 11 },
                { 12 },
            }
        );
        var selected = new FacilityLocation { Similarity = FeatureSimilarity.Euclidean }.Select(pool, SelectionBudget.Count(3));
        Assert.Equal([2, 0, 3], selected.Ids);
        Assert.Equal([38, 18], selected.Utilities.Take(2));
        Assert.Equal([1, 2, 2], selected.Weights);
    }

    [Theory]
    [InlineData(FeatureSimilarity.Cosine)]
    [InlineData(FeatureSimilarity.Euclidean)]
    [InlineData(FeatureSimilarity.Manhattan)]
    public void EqualsPlainGreedyAndIsNearTheBest(FeatureSimilarity kind)
    {
        for (var seed = 0; seed < 8; seed++)
        {
            var features = CoverageReference.Features(11, 3, seed);
            var similarities = Similarities(features, kind);
            using var pool = Pool(features);
            var selected = new FacilityLocation { Similarity = kind }.Select(pool, SelectionBudget.Count(4));
            int[] picks = [.. selected.Ids.Select(id => (int)id)];
            CoverageReference.AssertGreedy(similarities, picks, 1e-5);
            var value = CoverageReference.Value(similarities, picks);
            // Utilities are made in float32: sums of 11 numbers below 2.
            Assert.Equal(value, selected.Utilities.Sum(), 1e-4);
            Assert.True(value >= (1 - (1 / Math.E)) * CoverageReference.Subsets(11, 4).Max(s => CoverageReference.Value(similarities, s)));
        }
    }

    /// <summary>Similarities that are never all in memory give the gains of those that are, and greedy sequences of the same
    /// worth.</summary>
    [Fact]
    public void BlocksEqualTheDenseTable()
    {
        using var scope = NewDisposeScope();
        var features = tensor(CoverageReference.Features(300, 6, 3));
        var table = CoverageReference.Cosine(CoverageReference.Features(300, 6, 3));
        using var similarities = new Influence.Selection.Similarities(features, FeatureSimilarity.Cosine);
        using var dense = new DenseCoverage(similarities, similarities.Points, new float[300]);
        using var blocks = new BlockCoverage(similarities, similarities.Points, zeros(300, dtype: ScalarType.Float64));
        Assert.Equal(
            Enumerable.Range(0, 300).Select(j => CoverageReference.Value(table, [j])),
            dense.Gains([.. Enumerable.Range(0, 300)]),
            Near
        );
        Assert.Equal(
            Enumerable.Range(0, 300).Select(j => CoverageReference.Value(table, [j])),
            blocks.Gains([.. Enumerable.Range(0, 300)]),
            Near
        );
        CoverageReference.AssertGreedy(table, Sequence(dense, 25), 1e-4);
        CoverageReference.AssertGreedy(table, Sequence(blocks, 25), 1e-4);

        // Float32: sums of 300 numbers below 1.
        static bool Near(double a, double b) => Math.Abs(a - b) < 1e-4;
    }

    /// <summary>With all points as reference and all candidates looked at, stochastic greedy is greedy.</summary>
    [Fact]
    public void StochasticGreedyWithoutSamplesIsGreedy()
    {
        using var pool = Pool(CoverageReference.Features(80, 4, 4));
        var lazy = new FacilityLocation().Select(pool, SelectionBudget.Count(8));
        var all = new FacilityLocation { Method = FacilityLocation.Kind.Stochastic, Epsilon = 1e-12 }.Select(
            pool,
            SelectionBudget.Count(8)
        );
        Assert.Equal(lazy.Ids, all.Ids);
        Assert.Equal(lazy.Weights, all.Weights);
    }

    /// <summary>On clustered points: the sampled and the clustered value against that of exact greedy.</summary>
    [Theory]
    [InlineData(FacilityLocation.Kind.Stochastic)]
    [InlineData(FacilityLocation.Kind.Lazy)]
    [InlineData(FacilityLocation.Kind.Automatic)]
    public void ApproximationsAreNearTheExactValue(FacilityLocation.Kind method)
    {
        var features = Clustered(500, 6, 5);
        var similarities = CoverageReference.Cosine(features);
        using var pool = Pool(features);
        foreach (var count in new[] { 30, 90 })
        {
            var exact = Value(new FacilityLocation().Select(pool, SelectionBudget.Count(count)));
            var near = new FacilityLocation
            {
                Method = method,
                ExactUpTo = 400,
                ReferencePoints = 300,
                ClusterSize = 100,
                Seed = 1,
            }.Select(pool, SelectionBudget.Count(count));
            // What is not covered is what the picks are about: near 1, all values look alike. Greedy is not the best there is.
            Assert.InRange((500 - Value(near)) / (500 - exact), 0.9, 1.35);
            Assert.Equal(500, near.Weights.Sum());
            Assert.Single(near.Notes);
        }

        double Value(SelectedExamples selected) => CoverageReference.Value(similarities, selected.Ids.Select(id => (int)id));
    }

    /// <summary>The clustered utilities sum to the value with similarities across clusters left out, never above the true one.</summary>
    [Fact]
    public void TheClusteredValueIsALowerBound()
    {
        var features = Clustered(400, 4, 6);
        using var pool = Pool(features);
        var selected = new FacilityLocation
        {
            ExactUpTo = 100,
            ClusterSize = 50,
            Method = FacilityLocation.Kind.Lazy,
        }.Select(pool, SelectionBudget.Count(40));
        var value = CoverageReference.Value(CoverageReference.Cosine(features), selected.Ids.Select(id => (int)id));
        Assert.InRange(selected.Utilities.Sum(), 0.8 * value, value + 1e-3);
        Assert.Equal(selected.Utilities.OrderDescending(), selected.Utilities);
    }

    [Theory]
    [InlineData(FacilityLocation.Kind.Lazy, 10)]
    [InlineData(FacilityLocation.Kind.Lazy, 1000)]
    [InlineData(FacilityLocation.Kind.Stochastic, 10)]
    public void IdenticalPointsAreTakenInOrder(FacilityLocation.Kind method, int exactUpTo)
    {
        using var scope = NewDisposeScope();
        using var pool = new SelectionPool([.. Enumerable.Range(0, 60).Select(i => (long)i)]) { Features = ones(60, 3) };
        var selected = new FacilityLocation
        {
            Method = method,
            ExactUpTo = exactUpTo,
            ClusterSize = 10,
            Epsilon = 1e-9,
        }.Select(pool, SelectionBudget.Count(7));
        Assert.Equal(7, selected.Count);
        Assert.Equal(0, selected.Ids[0]);
        Assert.Equal(60, selected.Weights.Sum());
    }

    /// <summary>Squares of such points leave the range of float32; powers of two, so that nothing else changes.</summary>
    [Theory]
    [InlineData(66, FeatureSimilarity.Euclidean, FacilityLocation.Kind.Lazy)]
    [InlineData(-80, FeatureSimilarity.Euclidean, FacilityLocation.Kind.Lazy)]
    [InlineData(66, FeatureSimilarity.Euclidean, FacilityLocation.Kind.Stochastic)]
    [InlineData(122, FeatureSimilarity.Manhattan, FacilityLocation.Kind.Lazy)]
    public void TheUnitOfPointsDoesNotMatter(int power, FeatureSimilarity kind, FacilityLocation.Kind method)
    {
        using var scope = NewDisposeScope();
        var features = tensor(CoverageReference.Features(30, 64, 2)).to_type(ScalarType.Float32);
        var strategy = new FacilityLocation { Similarity = kind, Method = method };
        using var plain = new SelectionPool([.. Enumerable.Range(0, 30).Select(i => (long)i)]) { Features = features };
        using var other = new SelectionPool([.. Enumerable.Range(0, 30).Select(i => (long)i)])
        {
            Features = features * Math.ScaleB(1, power),
        };
        var (expected, found) = (strategy.Select(plain, SelectionBudget.Count(6)), strategy.Select(other, SelectionBudget.Count(6)));
        Assert.Equal(expected.Ids, found.Ids);
        Assert.Equal(expected.Weights, found.Weights);
        Assert.Equal(expected.Utilities.Select(u => Math.ScaleB(u, power)), found.Utilities);
    }

    [Fact]
    public void WeightsAreOptional()
    {
        using var pool = Pool(CoverageReference.Features(20, 3, 7));
        Assert.All(
            new FacilityLocation { Weighted = false }
                .Select(pool, SelectionBudget.Count(5))
                .Weights,
            w => Assert.Equal(1, w)
        );
    }

    [Fact]
    public void BadInputIsSaid()
    {
        using var pool = new SelectionPool([1, 2, 3]);
        Assert.Contains(
            "Features",
            Assert.Throws<InfluenceException>(() => new FacilityLocation().Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new FacilityLocation { Epsilon = 1 });
        Assert.Throws<InfluenceException>(() => new FacilityLocation { ClusterSize = 10_000 });
        Assert.Throws<InfluenceException>(() => new FacilityLocation { ReferencePoints = 0 });
        Assert.Throws<InfluenceException>(() => new FacilityLocation { ExactUpTo = 0 });
    }

    internal static SelectionPool Pool(double[,] features)
    {
        using var scope = NewDisposeScope();
        return new SelectionPool([.. Enumerable.Range(0, features.GetLength(0)).Select(i => (long)i)]) { Features = tensor(features) };
    }

    /// <summary>Twelve groups around random centres.</summary>
    internal static double[,] Clustered(int n, int d, int seed)
    {
        var (centres, noise) = (CoverageReference.Features(12, d, seed), CoverageReference.Features(n, d, seed + 1));
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < d; j++)
            {
                noise[i, j] = (0.5 * noise[i, j]) + centres[i % 12, j];
            }
        }

        return noise;
    }

    private static double[,] Similarities(double[,] features, FeatureSimilarity kind) =>
        kind switch
        {
            FeatureSimilarity.Cosine => CoverageReference.Cosine(features),
            FeatureSimilarity.Euclidean => CoverageReference.Distance(features, 2),
            _ => CoverageReference.Distance(features, 1),
        };

    private static List<int> Sequence(Coverage coverage, int count)
    {
        var greedy = new LazyGreedy(coverage, 1, null, CancellationToken.None);
        var picks = new List<int>();
        while (picks.Count < count && greedy.TryNext(_ => true, out var pick, out _))
        {
            picks.Add(pick);
        }

        return picks;
    }
}

public sealed class StochasticFacilityLocationTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) =>
        new FacilityLocation
        {
            Seed = seed,
            Method = FacilityLocation.Kind.Stochastic,
            ReferencePoints = 40,
            Epsilon = 0.3,
        };
}

public sealed class ClusteredFacilityLocationTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) =>
        new FacilityLocation
        {
            Seed = seed,
            Method = FacilityLocation.Kind.Lazy,
            ExactUpTo = 20,
            ClusterSize = 10,
        };
}
