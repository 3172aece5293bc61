using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class ColmTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new Colm { Seed = seed };

    [Fact]
    public void SmallSourcesAreKeptAndLargeOnesByTheirMedoids()
    {
        // Five of a large source on a line, as in facility location's example, and two of a small one.
        using var pool = Pool(
            new double[,]
            {
                { 0 },
                { 1 },
                { 10 },
                { 11 },
                { 12 },
                { 50 },
                { 60 },
            },
            ["web", "web", "web", "web", "web", "law", "law"]
        );
        var selected = new Colm { Weighted = true }.Select(pool, SelectionBudget.Count(5));
        Assert.Equal([5, 6, 2, 0, 3], selected.Ids);
        Assert.Equal([1, 1, 1, 2, 2], selected.Weights);
        Assert.Equal([0, 0, 38, 18], selected.Utilities.Take(4));
        Assert.All(new Colm().Select(pool, SelectionBudget.Count(5)).Weights, w => Assert.Equal(1, w));
        // Of five picks the large source's share is 5 * 5 / 7: four.
        Assert.Equal(
            [2, 0, 3, 1],
            new Colm { SmallSources = [] }
                .Select(pool, SelectionBudget.Count(5))
                .Ids.Where(id => id < 5)
        );
        var web = new Colm { SmallSources = ["web"] }.Select(pool, SelectionBudget.Count(6));
        Assert.Equal([0, 1, 2, 3, 4], web.Ids.Take(5));
    }

    /// <summary>The second feature has the smaller mean: with one dimension it does not count.</summary>
    [Fact]
    public void OnlyTheStrongestDimensionsCount()
    {
        using var pool = Pool(
            new double[,]
            {
                { 10, 0.5 },
                { 11, -0.5 },
                { 20, 0.5 },
                { 21, -0.5 },
                { 22, 0.5 },
            },
            ["a", "a", "a", "a", "a"]
        );
        using var first = Pool(
            new double[,]
            {
                { 10 },
                { 11 },
                { 20 },
                { 21 },
                { 22 },
            },
            ["a", "a", "a", "a", "a"]
        );
        var one = new Colm { Dimensions = 1 }.Select(pool, SelectionBudget.Count(3));
        Assert.Equal(new Colm().Select(first, SelectionBudget.Count(3)).Utilities, one.Utilities);
        Assert.NotEqual(new Colm().Select(pool, SelectionBudget.Count(3)).Utilities, one.Utilities);
    }

    [Fact]
    public void LargeSourcesHaveTheirShare()
    {
        using var pool = Pool(
            CoverageReference.Features(40, 6, 2),
            [
                .. Enumerable
                    .Range(0, 40)
                    .Select(i =>
                        i < 24 ? "a"
                        : i < 39 ? "b"
                        : "c"
                    ),
            ]
        );
        var selected = new Colm { Weighted = true }.Select(pool, SelectionBudget.Count(14));
        Assert.Equal(
            (8, 5, 1),
            (selected.Ids.Count(id => id < 24), selected.Ids.Count(id => id is >= 24 and < 39), selected.Ids.Count(id => id == 39))
        );
        Assert.Equal(40, selected.Weights.Sum());
        Assert.Equal(24, selected.Ids.Zip(selected.Weights).Where(pick => pick.First < 24).Sum(pick => pick.Second));
    }

    /// <summary>For a linear loss g . theta the two losses give (g . z) z.</summary>
    [Fact]
    public void TheZerothOrderGradientOfALinearLossIsExact()
    {
        using var scope = NewDisposeScope();
        var gradients = tensor(CoverageReference.Features(3, 5, 4));
        var (theta, z) = (tensor(CoverageReference.Features(1, 5, 5)).flatten(), tensor(CoverageReference.Features(1, 5, 6)).flatten());
        var epsilon = 0.01;
        var found = Colm.GradientsFromLosses(gradients.mv(theta + (z * epsilon)), gradients.mv(theta - (z * epsilon)), z, epsilon);
        Assert.True(found.allclose(gradients.mv(z).unsqueeze(1) * z, rtol: 1e-10, atol: 1e-10));
        Assert.Throws<InfluenceException>(() => Colm.GradientsFromLosses(zeros(3), zeros(4), z));
        Assert.Throws<InfluenceException>(() => Colm.GradientsFromLosses(zeros(3), zeros(3), z, 0));
    }

    /// <summary>The sheet's numbers: (1, -1) from a fresh state, and from m = (.1, .1), v = (.04, .01) without bias correction.</summary>
    [Fact]
    public void AdamFeaturesAreAdamsStep()
    {
        using var scope = NewDisposeScope();
        var gradients = tensor(
            new[,]
            {
                { 1.0, -2 },
            }
        );
        Assert.True(
            Colm.AdamSteps(gradients, zeros(2, ScalarType.Float64), zeros(2, ScalarType.Float64), 1)
                .allclose(
                    tensor(
                        new[,]
                        {
                            { 1.0, -1 },
                        }
                    )
                )
        );
        // At a late step nothing is left of the correction.
        var late = Colm.AdamSteps(gradients, tensor([0.1, 0.1]), tensor([0.04, 0.01]), 1_000_000);
        Assert.True(
            late.allclose(
                tensor(
                    new[,]
                    {
                        { 0.938801, -0.930002 },
                    }
                ),
                rtol: 1e-6
            )
        );
        Assert.Throws<InfluenceException>(() => Colm.AdamSteps(gradients, zeros(3), zeros(2), 1));
        Assert.Throws<InfluenceException>(() => Colm.AdamSteps(gradients, zeros(2), zeros(2), 0));
    }

    [Fact]
    public void BadInputIsSaid()
    {
        using var pool = Pool(
            new double[,]
            {
                { 0 },
                { 1 },
                { 2 },
                { 3 },
            },
            ["a", "a", "a", "b"]
        );
        Assert.Contains("have 3 examples", Message(new Colm { SmallSources = ["a"] }, pool, 2), StringComparison.Ordinal);
        Assert.Contains("no group has: c", Message(new Colm { SmallSources = ["c"] }, pool, 2), StringComparison.Ordinal);
        using var bare = FacilityLocationTests.Pool(CoverageReference.Features(4, 2, 1));
        Assert.Contains("groups", Message(new Colm(), bare, 1), StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new Colm { Dimensions = 0 });
        // "b" gets no pick, and nothing could stand for it.
        using var two = Pool(
            new double[,]
            {
                { 0 },
                { 1 },
                { 2 },
            },
            ["a", "a", "b"]
        );
        Assert.Contains("\"b\"", Message(new Colm { SmallSources = [], Weighted = true }, two, 1), StringComparison.Ordinal);

        static string Message(Colm strategy, SelectionPool from, int count) =>
            Assert.Throws<InfluenceException>(() => strategy.Select(from, SelectionBudget.Count(count))).Message;
    }

    private static SelectionPool Pool(double[,] features, string[] sources)
    {
        using var scope = NewDisposeScope();
        long[] ids = [.. Enumerable.Range(0, sources.Length).Select(i => (long)i)];
        return new SelectionPool(ids) { Features = tensor(features), Groups = ExampleGroups.Of(ids, sources) };
    }
}
