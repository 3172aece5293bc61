using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class DppTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new Dpp { Seed = seed };

    /// <summary>Relevance 1, .9, .5; cosines .95, .1, .1: first factors 1, .81, .25, then .078975 and .2475.</summary>
    [Fact]
    public void ThreeItems()
    {
        using var pool = MmrTests.ThreeItemPool();
        var selected = new Dpp { Scale = RelevanceScale.Raw }.Select(pool, SelectionBudget.Count(3));
        Assert.Equal([0, 2, 1], selected.Ids);
        Assert.Equal(1, selected.Utilities[0], 1e-12);
        Assert.Equal(0.2475, selected.Utilities[1], 1e-12);
    }

    /// <summary>Two unit items: det = 1 - s^2.</summary>
    [Fact]
    public void TwoUnitItems()
    {
        using var pool = FacilityLocationTests.Pool(
            new[,]
            {
                { 1, 0 },
                { 0.6, 0.8 },
            }
        );
        var selected = new Dpp().Select(pool, SelectionBudget.Count(2));
        Assert.Equal(1 - 0.36, selected.Utilities[0] * selected.Utilities[1], 1e-12);
    }

    /// <summary>Utilities multiply up to the determinant, and each pick raises it most.</summary>
    [Theory]
    [InlineData(Dpp.Kind.Cosine)]
    [InlineData(Dpp.Kind.Gaussian)]
    public void EqualsGreedyOnTheDeterminant(Dpp.Kind kernel)
    {
        using var scope = NewDisposeScope();
        var features = CoverageReference.Features(12, 6, 5);
        double[] quality = [.. Enumerable.Range(0, 12).Select(i => 1 + (0.3 * Math.Cos(i)))];
        var distances = CoverageReference.Distances(features, 2);
        var cosines = CoverageReference.Cosine(features);
        var similarity = CoverageReference.Pairs(
            12,
            (i, j) =>
                quality[i]
                * quality[j]
                * (kernel == Dpp.Kind.Cosine ? (2 * cosines[i, j]) - 1 : Math.Exp(-distances[i, j] * distances[i, j] / 2 / 0.49))
        );
        var l = tensor(similarity);
        using var pool = new SelectionPool(ExampleScores.Of([.. Enumerable.Range(0, 12).Select(i => (long)i)], quality))
        {
            Features = tensor(features),
        };
        var selected = new Dpp
        {
            Kernel = kernel,
            Bandwidth = 0.7,
            Scale = RelevanceScale.Raw,
        }.Select(pool, SelectionBudget.Count(5));
        List<int> expected = [];
        while (expected.Count < 5)
        {
            expected.Add(Enumerable.Range(0, 12).Except(expected).MaxBy(i => Determinant(l, [.. expected, i])));
        }

        Assert.Equal(expected, selected.Ids.Select(id => (int)id));
        Assert.Equal(Determinant(l, expected), selected.Utilities.Aggregate(1.0, (a, b) => a * b), 1e-10);
    }

    [Fact]
    public void BeyondTheRankRelevanceDecides()
    {
        using var scope = NewDisposeScope();
        var features = tensor(CoverageReference.Features(30, 3, 6));
        double[] scores = [.. Enumerable.Range(0, 30).Select(i => (double)i)];
        using var pool = new SelectionPool(ExampleScores.Of([.. Enumerable.Range(0, 30).Select(i => (long)i)], scores))
        {
            Features = features,
        };
        var selected = new Dpp().Select(pool, SelectionBudget.Count(10));
        Assert.All(selected.Utilities.Take(3), u => Assert.True(u > 0));
        Assert.All(selected.Utilities.Skip(3), u => Assert.Equal(0, u));
        Assert.Equal(selected.Ids.Skip(3).OrderDescending(), selected.Ids.Skip(3));
        Assert.Contains("after 3 picks", Assert.Single(selected.Notes), StringComparison.Ordinal);
        Assert.Empty(
            new Dpp { Kernel = Dpp.Kind.Gaussian }
                .Select(pool, SelectionBudget.Count(10))
                .Notes
        );
    }

    /// <summary>Rows of unit length in float32 are so up to 1e-7 only, far above what counts as no rise of the determinant.</summary>
    [Fact]
    public void TheRankIsFoundInSinglePrecision()
    {
        using var scope = NewDisposeScope();
        var features = randn([30, 3], generator: new Generator(9));
        double[] scores = [.. Enumerable.Range(0, 30).Select(i => (double)i)];
        using var single = new SelectionPool(ExampleScores.Of([.. Enumerable.Range(0, 30).Select(i => (long)i)], scores))
        {
            Features = features,
        };
        using var exact = new SelectionPool(ExampleScores.Of([.. Enumerable.Range(0, 30).Select(i => (long)i)], scores))
        {
            Features = features.to_type(ScalarType.Float64),
        };
        var (found, expected) = (new Dpp().Select(single, SelectionBudget.Count(10)), new Dpp().Select(exact, SelectionBudget.Count(10)));
        Assert.Equal(expected.Ids, found.Ids);
        Assert.Equal(expected.Utilities, found.Utilities);
        Assert.All(found.Utilities.Skip(3), u => Assert.Equal(0, u));
        Assert.Contains("after 3 picks", Assert.Single(found.Notes), StringComparison.Ordinal);
    }

    /// <summary>Copies, and a row of zeros, raise no determinant.</summary>
    [Fact]
    public void CopiesAndZerosAreFilledInByRelevance()
    {
        using var scope = NewDisposeScope();
        var features = cat([full([5, 3], 0.1f), zeros(1, 3)]);
        using var pool = new SelectionPool(ExampleScores.Of([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])) { Features = features };
        var selected = new Dpp().Select(pool, SelectionBudget.Count(4));
        Assert.Equal([4, 5, 3, 2], selected.Ids);
        Assert.All(selected.Utilities.Skip(1), u => Assert.Equal(0, u));
        Assert.Contains("after 1 picks", Assert.Single(selected.Notes), StringComparison.Ordinal);
    }

    /// <summary>Asked for a row that lies within those before, there is no further column.</summary>
    [Fact]
    public void ADependentRowHasNoColumn()
    {
        using var scope = NewDisposeScope();
        using var columns = new LinearColumns(
            tensor(
                new double[,]
                {
                    { 1, 0 },
                    { 1, 0 },
                }
            )
        );
        Assert.NotNull(columns.Next(0, 1));
        Assert.Null(columns.Next(1, 1e-4));
    }

    /// <summary>Raw scores whose squares leave the range of float64: the same picks as with scores near 1.</summary>
    [Theory]
    [InlineData(Dpp.Kind.Cosine)]
    [InlineData(Dpp.Kind.Gaussian)]
    public void TheUnitOfScoresAndFeaturesDoesNotMatter(Dpp.Kind kernel)
    {
        using var scope = NewDisposeScope();
        var features = tensor(CoverageReference.Features(12, 6, 5));
        var expected = Select(0);
        Assert.Equal(expected, Select(-600));
        Assert.Equal(expected, Select(600));

        IReadOnlyList<long> Select(int power)
        {
            double[] quality = [.. Enumerable.Range(0, 12).Select(i => Math.ScaleB(1 + (0.3 * Math.Cos(i)), power))];
            using var pool = new SelectionPool(ExampleScores.Of([.. Enumerable.Range(0, 12).Select(i => (long)i)], quality))
            {
                Features = features * Math.ScaleB(1, power),
            };
            return new Dpp { Kernel = kernel, Scale = RelevanceScale.Raw }
                .Select(pool, SelectionBudget.Count(5))
                .Ids;
        }
    }

    [Fact]
    public void BadInputIsSaid()
    {
        using var scope = NewDisposeScope();
        Assert.Throws<InfluenceException>(() => new Dpp { Bandwidth = 0 });
        using var pool = new SelectionPool(ExampleScores.Of([5, 6], [1, -1])) { Features = ones(2, 2) };
        Assert.Contains(
            "6",
            Assert.Throws<InfluenceException>(() => new Dpp { Scale = RelevanceScale.Raw }.Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
        using var large = new SelectionPool([.. Enumerable.Range(0, 12_000).Select(i => (long)i)]) { Features = ones(12_000, 1) };
        Assert.Contains(
            "Gaussian",
            Assert
                .Throws<InfluenceException>(() => new Dpp { Kernel = Dpp.Kind.Gaussian }.Select(large, SelectionBudget.Fraction(1)))
                .Message,
            StringComparison.Ordinal
        );
    }

    private static double Determinant(Tensor matrix, IReadOnlyList<int> rows)
    {
        using var scope = NewDisposeScope();
        var index = tensor(rows.Select(r => (long)r).ToArray());
        // Of a symmetric positive matrix: the square of the product of the Cholesky factor's diagonal.
        return Math.Pow(
            linalg
                .cholesky(matrix.index_select(0, index).index_select(1, index))
                .diagonal()
                .data<double>()
                .ToArray()
                .Aggregate(1.0, (a, b) => a * b),
            2
        );
    }
}

public sealed class GaussianDppTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new Dpp { Seed = seed, Kernel = Dpp.Kind.Gaussian };
}
