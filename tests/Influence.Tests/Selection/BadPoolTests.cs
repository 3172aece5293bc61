using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

/// <summary>What pools and budgets refuse, and what the message says.</summary>
public sealed class BadPoolTests
{
    private static readonly ScoreMetadata s_made = new() { Estimator = "made up", Unit = "loss" };

    [Fact]
    public void ScoresThatAreNotFiniteAreNamed()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(
                new float[,]
                {
                    { 1, float.NaN, 3, 4 },
                    { 1, 2, 3, float.NegativeInfinity },
                }
            ),
            [0, 1],
            [40, 30, 20, 10],
            s_made
        );
        var thrown = Assert.Throws<InfluenceException>(() => new SelectionPool(scores));
        Assert.Equal([10L, 30], thrown.ExampleIds);
        Assert.Contains("10, 30", thrown.Message, StringComparison.Ordinal);
        Assert.Equal(
            [5L],
            Assert
                .Throws<InfluenceException>(() => new TopK().Select(ExampleScores.Of([5, 6], [double.NaN, 1]), SelectionBudget.Count(1)))
                .ExampleIds
        );
        Assert.Equal(
            [6L],
            Assert
                .Throws<InfluenceException>(() =>
                    new SelectionPool([ExampleScores.Of([5, 6], [0, 1]), ExampleScores.Of([6, 5], [double.PositiveInfinity, 1])])
                )
                .ExampleIds
        );
    }

    [Fact]
    public void FeaturesAreChecked()
    {
        using var scope = NewDisposeScope();
        InfluenceException Thrown(Tensor features) =>
            Assert.Throws<InfluenceException>(() => new SelectionPool([30, 10, 20]) { Features = features });

        Assert.Equal(
            [10L, 30],
            Thrown(
                tensor(
                    new float[,]
                    {
                        { float.NaN, 0 },
                        { 0, float.PositiveInfinity },
                        { 1, 1 },
                    }
                )
            ).ExampleIds
        );
        Assert.Contains("[3, d]; found [2, 2]", Thrown(zeros(2, 2)).Message, StringComparison.Ordinal);
        Assert.Contains("found [3]", Thrown(zeros(3)).Message, StringComparison.Ordinal);
        Assert.Contains("found [3, 0]", Thrown(zeros(3, 0)).Message, StringComparison.Ordinal);
        Assert.Contains("to_type", Thrown(zeros([3, 2], ScalarType.Int64)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void IdsAreChecked()
    {
        Assert.Contains(
            "empty",
            Assert.Throws<InfluenceException>(() => new SelectionPool(Array.Empty<long>())).Message,
            StringComparison.Ordinal
        );
        Assert.Equal([7L], Assert.Throws<InfluenceException>(() => new SelectionPool([7, 8, 7])).ExampleIds);
        using var pool = new SelectionPool([7, 8]);
        Assert.Equal([9L], Assert.Throws<InfluenceException>(() => pool.PositionOf(9)).ExampleIds);
    }

    [Fact]
    public void LengthsAreChecked()
    {
        Assert.Contains(
            "found 1",
            Assert.Throws<InfluenceException>(() => new SelectionPool([7, 8]) { Lengths = [3] }).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "found 0",
            Assert.Throws<InfluenceException>(() => new SelectionPool([7, 8]) { Lengths = [3, 0] }).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void MetricsScoreTheSameCandidates()
    {
        var thrown = Assert.Throws<InfluenceException>(() =>
            new SelectionPool([ExampleScores.Of([1, 2, 3], [0, 0, 0]), ExampleScores.Of([4, 3, 2], [0, 0, 0])])
        );
        Assert.Equal([1L, 4], thrown.ExampleIds);
        Assert.Throws<InfluenceException>(() => new SelectionPool(Array.Empty<ExampleScores>()));
    }

    [Fact]
    public void MetricsInUnlikeOrdersFallIntoStep()
    {
        using var scope = NewDisposeScope();
        using var pool = new SelectionPool([ExampleScores.Of([3, 1, 2], [30, 10, 20]), ExampleScores.Of([1, 2, 3], [-1, -2, -3])]);
        Assert.Equal([1, 2, 3], pool.Ids);
        Assert.Equal([0, 1], pool.QueryIds);
        Assert.Equal([10.0, 20, 30, -1, -2, -3], pool.Scores!.data<double>().ToArray());
    }

    [Fact]
    public void QueriesInNoTaskAreNamed()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(zeros(3, 2), [5, 6, 7], [1, 2], s_made);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new SelectionPool(scores) { Tasks = ExampleGroups.FromMembers(("a", [5, 9])) }
        );
        Assert.Contains("in no task: 6, 7", thrown.Message, StringComparison.Ordinal);
        // Tasks may hold more queries than were scored, and then even a task of which none was.
        using var pool = new SelectionPool(scores) { Tasks = ExampleGroups.FromMembers(("a", [5, 6, 7]), ("b", [8])) };
        Assert.Equal([1], new LessMax().Select(pool, SelectionBudget.Count(1)).Ids);
        Assert.Equal([1, 2], new RoundRobin().Select(pool, SelectionBudget.Count(2)).Ids);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    public void BudgetsAreAboveZero(long amount)
    {
        Assert.Throws<InfluenceException>(() => SelectionBudget.Count(amount));
        Assert.Throws<InfluenceException>(() => SelectionBudget.Tokens(amount));
        Assert.Throws<InfluenceException>(() => SelectionBudget.Fraction(amount));
    }

    [Theory]
    [InlineData(1.01)]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void ASharesIsAtMostOne(double share) => Assert.Throws<InfluenceException>(() => SelectionBudget.Fraction(share));

    [Fact]
    public void BudgetsFitThePool()
    {
        using var pool = new SelectionPool(ExampleScores.Of([1, 2, 3], [1, 2, 3])) { Lengths = [5, 6, 7] };
        using var bare = new SelectionPool(ExampleScores.Of([1, 2, 3], [1, 2, 3]));
        string Message(SelectionPool from, SelectionBudget budget) =>
            Assert.Throws<InfluenceException>(() => new TopK().Select(from, budget)).Message;

        Assert.Contains("4 examples, but the pool has 3", Message(pool, SelectionBudget.Count(4)), StringComparison.Ordinal);
        Assert.Contains("the pool has 3", Message(pool, SelectionBudget.Count(long.MaxValue)), StringComparison.Ordinal);
        Assert.Contains("19 tokens, but the pool has 18", Message(pool, SelectionBudget.Tokens(19)), StringComparison.Ordinal);
        Assert.Contains("the shortest example has 5", Message(pool, SelectionBudget.Tokens(4)), StringComparison.Ordinal);
        Assert.Contains("Lengths", Message(bare, SelectionBudget.Tokens(4)), StringComparison.Ordinal);
        Assert.Equal([3, 1], new TopK().Select(pool, SelectionBudget.Tokens(12)).Ids); // 7, then 6 does not fit but 5 does
        Assert.Equal([3, 2, 1], new TopK().Select(pool, SelectionBudget.Tokens(18)).Ids);
        Assert.Equal([3], new TopK().Select(pool, SelectionBudget.Fraction(0.01)).Ids);
        Assert.Equal([3, 2], new TopK().Select(pool, SelectionBudget.Fraction(0.5)).Ids); // 1.5 is rounded up
    }

    /// <summary>All problems at once: no scores, no features, and a budget that is too large.</summary>
    [Fact]
    public void EveryProblemIsInOneMessage()
    {
        using var pool = new SelectionPool([1, 2]);
        var message = Assert.Throws<InfluenceException>(() => new Deita().Select(pool, SelectionBudget.Count(3))).Message;
        Assert.Contains("3 problems", message, StringComparison.Ordinal);
        Assert.Contains("reads scores", message, StringComparison.Ordinal);
        Assert.Contains("Features", message, StringComparison.Ordinal);
    }

    /// <summary>A part of a pool keeps scores, features and lengths together, whatever the order in which it is asked for.</summary>
    [Fact]
    public void APartKeepsEverythingInStep()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(
            tensor(
                new float[,]
                {
                    { 3, 1, 2 },
                }
            ),
            [0],
            [30, 10, 20],
            s_made
        );
        using var pool = new SelectionPool(scores)
        {
            Features = tensor(
                new float[,]
                {
                    { 3, 3 },
                    { 1, 1 },
                    { 2, 2 },
                }
            ),
            Lengths = [3, 1, 2],
        };
        using var part = pool.At([2, 0]);
        Assert.Equal([10, 30], part.Ids);
        Assert.Equal([1, 3], part.Lengths!);
        Assert.Equal([1f, 3], part.Scores!.data<float>().ToArray());
        Assert.Equal([1f, 1, 3, 3], part.Features!.data<float>().ToArray());
    }

    [Fact]
    public void ARefusedPoolFreesItsScores()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(zeros(2, 3), [0, 1], [30, 10, 20], s_made); // not ascending: the pool holds a copy
        using var wrong = zeros(2, 2);
        using var infinite = full([3, 2], double.PositiveInfinity);
        var features = zeros(3, 2);
        var before = LiveTensors.OnThisThread;
        Assert.Throws<InfluenceException>(() => new SelectionPool(scores) { Features = wrong });
        Assert.Throws<InfluenceException>(() => new SelectionPool(scores) { Features = infinite });
        Assert.Throws<InfluenceException>(() => new SelectionPool(scores) { Features = features, Lengths = [1, 2] });
        Assert.Throws<InfluenceException>(() => new SelectionPool(scores) { Features = features, Lengths = [1, 2, 0] });
        Assert.Throws<InfluenceException>(() =>
            new SelectionPool(scores) { Features = features, Tasks = ExampleGroups.FromMembers(("a", [0])) }
        );
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    [Fact]
    public void FeaturesAreFoundByTheirIds()
    {
        using var scope = NewDisposeScope();
        var features = tensor(
            new float[,]
            {
                { 2, 2 },
                { 3, 3 },
                { 1, 1 },
            }
        );
        using var pool = new SelectionPool(ExampleScores.Of([30, 10, 20], [3, 1, 2])) { Lengths = [3, 1, 2] }.WithFeatures(
            [20, 30, 10],
            features
        );
        Assert.Equal([1f, 1, 2, 2, 3, 3], pool.Features!.data<float>().ToArray());
        using var ascending = new SelectionPool(ExampleScores.Of([30, 10, 20], [3, 1, 2])).WithFeatures([10, 20, 30], features);
        Assert.Equal([2f, 2, 3, 3, 1, 1], ascending.Features!.data<float>().ToArray());
    }

    [Fact]
    public void FeaturesOfOtherIdsAreRefusedAndBothSidesNamed()
    {
        using var scope = NewDisposeScope();
        using var scores = new InfluenceScores(zeros(2, 3), [0, 1], [30, 10, 20], s_made);
        var three = zeros(3, 2);
        var bad = tensor(
            new float[,]
            {
                { float.NaN, 0 },
                { 0, 0 },
                { 1, float.PositiveInfinity },
            }
        );
        InfluenceException Thrown(Tensor features, params long[] ids) =>
            Assert.Throws<InfluenceException>(() => new SelectionPool(scores).WithFeatures(ids, features));

        var both = Thrown(three, 20, 40, 10);
        Assert.Contains("no features: 30; these ids have features, but are no candidates: 40", both.Message, StringComparison.Ordinal);
        Assert.Equal([30L, 40], both.ExampleIds);
        Assert.Contains("no features: 30.", Thrown(three, 20, 10).Message, StringComparison.Ordinal);
        Assert.Contains("no candidates: 40.", Thrown(three, 20, 10, 30, 40).Message, StringComparison.Ordinal);
        Assert.Equal([20L], Thrown(three, 20, 20, 10, 30).ExampleIds);
        Assert.Contains("[3, d]; found [2, 2]", Thrown(three.narrow(0, 0, 2), 10, 20, 30).Message, StringComparison.Ordinal);
        Assert.Equal([20L, 30], Thrown(bad, 30, 10, 20).ExampleIds);
        Assert.Contains(
            "once",
            Assert
                .Throws<InfluenceException>(() => new SelectionPool(scores) { Features = three }.WithFeatures([10, 20, 30], three))
                .Message,
            StringComparison.Ordinal
        );
    }
}
