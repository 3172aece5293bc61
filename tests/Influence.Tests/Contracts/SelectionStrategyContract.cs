using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Contracts;

/// <summary>What every selection strategy keeps to. A derived class says which strategy, and may narrow the pool.</summary>
public abstract class SelectionStrategyContract
{
    private static readonly string[] s_sources = ["books", "web", "code"];

    /// <summary>The strategy, as a user would write it.</summary>
    protected abstract SelectionStrategy Strategy(long seed);

    /// <summary>Whether it stops before the budget is used up, on the pool of these tests.</summary>
    protected virtual bool MayPickFewer => false;

    /// <summary>Whether the answer depends on the seed.</summary>
    protected virtual bool IsRandom => false;

    /// <summary>Sixty candidates with scores for four queries, features, groups, lengths and tasks, given in some order.</summary>
    protected virtual SelectionPool Pool(int[] order)
    {
        ArgumentNullException.ThrowIfNull(order);
        using var scope = NewDisposeScope();
        var random = new Random(11);
        var (n, q, d) = (order.Length, 4, 5);
        var scores = new float[q, n];
        var features = new float[n, d];
        var lengths = new long[n];
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < q; j++)
            {
                scores[j, i] = (float)((random.NextDouble() * 2) - 0.5);
            }

            for (var j = 0; j < d; j++)
            {
                features[i, j] = (float)(random.NextDouble() - 0.5) + (i % 3 == j ? 2 : 0);
            }

            lengths[i] = random.Next(5, 40);
        }

        var index = tensor(order.Select(i => (long)i).ToArray());
        long[] ids = [.. order.Select(i => 1000L + (7 * i))];
        using var values = new InfluenceScores(
            tensor(scores).index_select(1, index),
            [0, 1, 2, 3],
            ids,
            new ScoreMetadata { Estimator = "made up", Unit = "loss" }
        );
        return new SelectionPool(values)
        {
            Features = tensor(features).index_select(0, index),
            Lengths = [.. order.Select(i => lengths[i])],
            Groups = ExampleGroups.Of(ids, [.. order.Select(i => s_sources[i % 3])]),
            Tasks = ExampleGroups.Of([0, 1, 2, 3], ["a", "a", "b", "b"]),
        };
    }

    [Theory]
    [InlineData(1)]
    [InlineData(6)]
    [InlineData(59)]
    public void PicksExactlyWhatTheBudgetSays(int count)
    {
        using var pool = Pool(InOrder());
        var selected = Strategy(3).Select(pool, SelectionBudget.Count(count));
        if (MayPickFewer)
        {
            Assert.InRange(selected.Count, 0, count);
        }
        else
        {
            Assert.Equal(count, selected.Count);
        }

        Assert.Equal(selected.Count, selected.Ids.Distinct().Count());
        Assert.All(selected.Ids, id => Assert.Contains(id, pool.Ids));
        Assert.All(selected.Weights, weight => Assert.True(double.IsFinite(weight) && weight >= 0, $"weight {weight}"));
        Assert.All(selected.Utilities, utility => Assert.False(double.IsNaN(utility)));
    }

    [Fact]
    public void TheWholePoolCanBePicked()
    {
        using var pool = Pool(InOrder());
        var selected = Strategy(3).Select(pool, SelectionBudget.Fraction(1));
        Assert.InRange(selected.Count, MayPickFewer ? 0 : pool.Count, pool.Count);
    }

    [Fact]
    public void TokensAreNotExceededAndLittleIsLeft()
    {
        using var pool = Pool(InOrder());
        var selected = Strategy(3).Select(pool, SelectionBudget.Tokens(200));
        var lengths = pool.Ids.Zip(pool.Lengths!).ToDictionary(pair => pair.First, pair => pair.Second);
        var spent = selected.Ids.Sum(id => lengths[id]);
        Assert.InRange(spent, MayPickFewer ? 0 : 161, 200);
    }

    [Fact]
    public void TheOrderOfTheCandidatesChangesNothing()
    {
        using var pool = Pool(InOrder());
        using var shuffled = Pool([.. InOrder().OrderBy(i => (i * 37) % 61)]);
        var (first, second) = (
            Strategy(5).Select(pool, SelectionBudget.Count(12)),
            Strategy(5).Select(shuffled, SelectionBudget.Count(12))
        );
        Assert.Equal(first.Ids, second.Ids);
        Assert.Equal(first.Weights, second.Weights);
    }

    [Fact]
    public void TheSameSeedGivesTheSameAnswer()
    {
        using var pool = Pool(InOrder());
        var selections = new[] { 1, 1, 2, 3, 4 }.Select(seed => Strategy(seed).Select(pool, SelectionBudget.Count(10))).ToList();
        Assert.Equal(selections[0].Ids, selections[1].Ids);
        Assert.Equal(IsRandom, selections.Skip(1).Any(s => !s.Ids.SequenceEqual(selections[0].Ids)));
    }

    [Fact]
    public void NothingOfItsOwnStaysAlive()
    {
        using var pool = Pool(InOrder());
        Strategy(1).Select(pool, SelectionBudget.Count(5));
        var before = LiveTensors.OnThisThread;
        Strategy(1).Select(pool, SelectionBudget.Count(5));
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    [Fact]
    public void ACancelledCallEnds()
    {
        using var pool = Pool(InOrder());
        using var source = new CancellationTokenSource();
        source.Cancel();
        Assert.Throws<OperationCanceledException>(() => Strategy(1).Select(pool, SelectionBudget.Count(5), null, source.Token));
    }

    private static int[] InOrder() => [.. Enumerable.Range(0, 60)];
}
