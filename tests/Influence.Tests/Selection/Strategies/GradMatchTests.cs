using Influence.Numerics;
using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class GradMatchTests : SelectionStrategyContract
{
    protected override bool MayPickFewer => true;

    protected override SelectionStrategy Strategy(long seed) => new GradMatch { Seed = seed };

    /// <summary>Gradients (1, 0), (0, 1), (1, 1) and b = (2, 1): correlations 2, 1, 3; then weights 1, 0, 1 are exact.</summary>
    [Fact]
    public void ThreeColumns()
    {
        using var pool = FacilityLocationTests.Pool(
            new double[,]
            {
                { 1, 0 },
                { 0, 1 },
                { 1, 1 },
            }
        );
        var matching = new GradMatch { Target = [2, 1] };
        var one = matching.Select(pool, SelectionBudget.Count(1));
        Assert.Equal((2, 3.0, 1.5), (one.Ids[0], one.Utilities[0], one.Weights[0]));
        var all = matching.Select(pool, SelectionBudget.Count(3));
        Assert.Equal([2, 0], all.Ids);
        Assert.Equal(0.5, all.Utilities[1], 1e-12);
        Assert.All(all.Weights, w => Assert.Equal(1, w, 1e-12));
        Assert.Contains("After 2 picks", Assert.Single(all.Notes), StringComparison.Ordinal);
    }

    /// <summary>Against all supports: for each set of columns with a positive solution, the unconstrained one; the best of these is the
    /// answer.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(0.3)]
    public void WeightsAreTheBestThatAreNotNegative(double ridge)
    {
        using var scope = NewDisposeScope();
        for (var seed = 0; seed < 10; seed++)
        {
            var columns = tensor(CoverageReference.Features(6, 4, seed));
            var target = tensor(CoverageReference.Features(1, 4, seed + 50)).flatten();
            using var solver = new NonNegativeLeastSquares(target, ridge);
            for (var i = 0; i < 6; i++)
            {
                solver.Add(columns[i]);
            }

            Assert.All(solver.Weights, w => Assert.True(w >= 0));
            Assert.Equal(Best(columns, target, ridge), Value(columns, target, ridge, [.. solver.Weights]), 1e-10);
            var residual = target - columns.t().mv(tensor(solver.Weights.ToArray()));
            Assert.True(solver.Residual().allclose(residual));
        }
    }

    /// <summary>The target is a non-negative mixture of some gradients: it is found.</summary>
    [Fact]
    public void AMixtureIsRecovered()
    {
        using var scope = NewDisposeScope();
        var features = randn([200, 40], generator: new Generator(5)).to_type(ScalarType.Float64);
        var target = (features[3] * 2) + features[50] + (features[120] * 0.5);
        using var pool = new SelectionPool([.. Enumerable.Range(0, 200).Select(i => (long)i)]) { Features = features };
        var selected = new GradMatch { Target = target.data<double>().ToArray() }.Select(pool, SelectionBudget.Count(10));
        Assert.Equal(
            [3, 50, 120],
            selected.Ids.Index().Where(pick => selected.Weights[pick.Index] > 1e-9).Select(pick => pick.Item).Order()
        );
        Assert.Equal(2, selected.Weights[0], 1e-9);
    }

    /// <summary>What is left of the gradient's length never grows with the budget; with a ridge it goes on where without it the match is
    /// exact.</summary>
    [Fact]
    public void MorePicksMatchBetter()
    {
        using var scope = NewDisposeScope();
        var features = tensor(CoverageReference.Features(100, 8, 6)).to_type(ScalarType.Float32);
        using var pool = new SelectionPool([.. Enumerable.Range(0, 100).Select(i => (long)i)]) { Features = features };
        var last = double.PositiveInfinity;
        foreach (var count in new[] { 1, 2, 4, 8 })
        {
            var selected = new GradMatch { Ridge = 1e-3 }.Select(pool, SelectionBudget.Count(count));
            var matched = features
                .index_select(0, tensor(selected.Ids.ToArray()))
                .t()
                .mv(tensor(selected.Weights.ToArray(), dtype: ScalarType.Float32));
            var left = (features.sum([0L]) - matched).norm().item<float>();
            Assert.True(left <= last);
            last = left;
        }

        Assert.InRange(new GradMatch().Select(pool, SelectionBudget.Count(50)).Count, 2, 12);
        Assert.Equal(
            50,
            new GradMatch { Ridge = 10, Tolerance = 0 }
                .Select(pool, SelectionBudget.Count(50))
                .Count
        );
    }

    [Fact]
    public void CopiesAreNotPickedAgain()
    {
        using var scope = NewDisposeScope();
        using var pool = new SelectionPool([.. Enumerable.Range(0, 20).Select(i => (long)i)]) { Features = ones(20, 3) };
        var selected = new GradMatch().Select(pool, SelectionBudget.Count(5));
        Assert.Equal([0], selected.Ids);
        Assert.Equal(20, selected.Weights[0], 1e-9);
        using var none = new SelectionPool([1, 2]) { Features = zeros(2, 3) };
        Assert.Equal(0, new GradMatch().Select(none, SelectionBudget.Count(2)).Count);
    }

    /// <summary>What counts as rounding is of each gradient's own length: a long one that does not matter hides no short one.</summary>
    [Fact]
    public void ALongGradientHidesNoShortOnes()
    {
        using var scope = NewDisposeScope();
        using var pool = new SelectionPool([0, 1, 2])
        {
            Features = tensor(
                new[,]
                {
                    { 1e6f, 0, 0 },
                    { 0, 1, 0 },
                    { 0, 0, 1 },
                }
            ),
        };
        var selected = new GradMatch { Target = [0, 1, 1] }.Select(pool, SelectionBudget.Count(2));
        Assert.Equal([1, 2], selected.Ids);
        Assert.Equal([1, 1], selected.Weights);
        Assert.Empty(selected.Notes);
    }

    /// <summary>Squares of such gradients leave the range of their dtype; powers of two, so that nothing else changes.</summary>
    [Theory]
    [InlineData(66, ScalarType.Float32)]
    [InlineData(-80, ScalarType.Float32)]
    [InlineData(600, ScalarType.Float64)]
    public void TheUnitOfGradientsDoesNotMatter(int power, ScalarType dtype)
    {
        using var scope = NewDisposeScope();
        var features = tensor(CoverageReference.Features(20, 6, 6)).to_type(dtype);
        using var plain = new SelectionPool([.. Enumerable.Range(0, 20).Select(i => (long)i)]) { Features = features };
        using var other = new SelectionPool([.. Enumerable.Range(0, 20).Select(i => (long)i)])
        {
            Features = features * Math.ScaleB(1, power),
        };
        var (expected, found) = (
            new GradMatch().Select(plain, SelectionBudget.Count(4)),
            new GradMatch().Select(other, SelectionBudget.Count(4))
        );
        Assert.Equal(expected.Ids, found.Ids);
        Assert.Equal(expected.Weights, found.Weights);
        Assert.Equal(expected.Utilities.Select(u => Math.ScaleB(u, 2 * power)), found.Utilities);
    }

    [Fact]
    public void BadInputIsSaid()
    {
        using var pool = FacilityLocationTests.Pool(CoverageReference.Features(4, 2, 1));
        Assert.Contains("2 features; found 3", Message(new GradMatch { Target = [1, 2, 3] }), StringComparison.Ordinal);
        Assert.Contains("not finite", Message(new GradMatch { Target = [1, double.NaN] }), StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new GradMatch { Ridge = -1 });
        Assert.Throws<InfluenceException>(() => new GradMatch { Tolerance = double.NaN });

        string Message(GradMatch strategy) =>
            Assert.Throws<InfluenceException>(() => strategy.Select(pool, SelectionBudget.Count(1))).Message;
    }

    private static double Value(Tensor columns, Tensor target, double ridge, double[] weights)
    {
        using var scope = NewDisposeScope();
        var w = tensor(weights);
        return ((columns.t().mv(w) - target).Squared().sum() + (w.Squared().sum() * ridge)).item<double>();
    }

    private static double Best(Tensor columns, Tensor target, double ridge) =>
        Enumerable
            .Range(1, ridge > 0 ? 6 : 4)
            .SelectMany(size => CoverageReference.Subsets(6, size))
            .Select(support =>
            {
                using var scope = NewDisposeScope();
                var some = columns.index_select(0, tensor(support.Select(i => (long)i).ToArray()));
                var solved = linalg
                    .solve(some.mm(some.t()) + (eye(support.Length, dtype: ScalarType.Float64) * ridge), some.mv(target))
                    .data<double>()
                    .ToArray();
                var weights = new double[6];
                for (var i = 0; i < support.Length; i++)
                {
                    weights[support[i]] = solved[i];
                }

                return solved.Min() < 0 ? double.PositiveInfinity : Value(columns, target, ridge, weights);
            })
            .Append(Value(columns, target, ridge, new double[6]))
            .Min();
}
