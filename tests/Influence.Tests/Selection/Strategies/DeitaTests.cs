using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class DeitaTests : SelectionStrategyContract
{
    protected override bool MayPickFewer => true;

    protected override SelectionStrategy Strategy(long seed) => new Deita { Seed = seed, MaximumSimilarity = 0.95 };

    /// <summary>Scores from 1 to 6, as DEITA's are.</summary>
    protected override SelectionPool Pool(int[] order)
    {
        using var pool = base.Pool(order);
        using var scope = NewDisposeScope();
        using var positive = new InfluenceScores(
            (pool.Scores! + 2),
            pool.QueryIds,
            pool.Ids,
            new ScoreMetadata { Estimator = "made up", Unit = "loss" }
        );
        return new SelectionPool(positive)
        {
            Features = pool.Features,
            Lengths = pool.Lengths,
            Groups = pool.Groups,
            Tasks = pool.Tasks,
        };
    }

    [Fact]
    public void DuplicatesArePassedOver()
    {
        using var scope = NewDisposeScope();
        using var pool = new SelectionPool([ExampleScores.Of([1, 2, 3, 4], [2, 2, 3, 1]), ExampleScores.Of([1, 2, 3, 4], [3, 2, 3, 1])])
        {
            Features = tensor(
                new float[,]
                {
                    { 2, 2 },
                    { 1, -1 },
                    { 1, 1 },
                    { 1e-30f, 1.1e-30f },
                }
            ),
        };
        var selected = new Deita().Select(pool, SelectionBudget.Fraction(1));
        Assert.Equal([3, 2], selected.Ids); // 1 and 4 point where 3 does
        Assert.Equal([9, 4], selected.Utilities);
        Assert.Contains("2 candidates were passed over", Assert.Single(selected.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void ALimitOfOneIsTopK()
    {
        using var scope = NewDisposeScope();
        long[] ids = [.. Enumerable.Range(0, 30)];
        var scores = ExampleScores.Of(ids, [.. ids.Select(id => Math.Sin(id))]);
        using var pool = new SelectionPool(scores) { Features = ones(30, 3) };
        Assert.Equal(
            new TopK().Select(pool, SelectionBudget.Count(12)).Ids,
            new Deita { MaximumSimilarity = 1 }
                .Select(pool, SelectionBudget.Count(12))
                .Ids
        );
        Assert.Equal([.. new TopK().Select(pool, SelectionBudget.Count(1)).Ids], new Deita().Select(pool, SelectionBudget.Count(12)).Ids);
    }

    /// <summary>The definition, one candidate after the other, over several blocks.</summary>
    [Fact]
    public void EqualsTheLoop()
    {
        using var scope = NewDisposeScope();
        var random = new Random(4);
        const int Candidates = 2600;
        long[] ids = [.. Enumerable.Range(0, Candidates)];
        var rows = ids.Select(_ => new[] { random.NextDouble() - 0.5, random.NextDouble() - 0.5, random.NextDouble() - 0.5 }).ToArray();
        rows[17] = [0, 0, 0];
        double[] scores = [.. ids.Select(_ => random.NextDouble())];
        using var pool = new SelectionPool(ExampleScores.Of(ids, scores)) { Features = stack(rows.Select(r => tensor(r)).ToArray()) };

        double Cosine(double[] a, double[] b)
        {
            var norms = Math.Sqrt(a.Sum(x => x * x) * b.Sum(x => x * x));
            return norms == 0 ? 0 : a.Zip(b, (x, y) => x * y).Sum() / norms;
        }

        var expected = new List<int>();
        foreach (var i in Enumerable.Range(0, Candidates).OrderByDescending(i => scores[i]))
        {
            if (expected.TrueForAll(k => Cosine(rows[i], rows[k]) <= 0.97))
            {
                expected.Add(i);
            }
        }

        var selected = new Deita { MaximumSimilarity = 0.97 }.Select(pool, SelectionBudget.Fraction(1));
        Assert.Equal(expected.Select(i => (long)i), selected.Ids);
        Assert.Contains(17, selected.Ids);
        Assert.InRange(selected.Count, 50, 500);
    }

    [Fact]
    public void NegativeFactorsAreRefused()
    {
        using var scope = NewDisposeScope();
        using var pool = new SelectionPool([ExampleScores.Of([5, 6], [1, -2]), ExampleScores.Of([5, 6], [1, 2])]) { Features = ones(2, 2) };
        var thrown = Assert.Throws<InfluenceException>(() => new Deita().Select(pool, SelectionBudget.Count(1)));
        Assert.Contains("6", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new Deita { MaximumSimilarity = 1.1 });
        using var without = new SelectionPool(ExampleScores.Of([5, 6], [1, 2]));
        Assert.Contains(
            "Features",
            Assert.Throws<InfluenceException>(() => new Deita().Select(without, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
    }
}
