using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class RelevantAndDiverseTests : SelectionStrategyContract
{
    protected override SelectionStrategy Strategy(long seed) => new RelevantAndDiverse { Seed = seed };

    [Theory]
    [InlineData(0.5)]
    [InlineData(1)]
    [InlineData(20)]
    public void EqualsGreedyOnTheObjectiveAndIsNearTheBest(double beta)
    {
        for (var seed = 0; seed < 5; seed++)
        {
            var (features, scores) = (CoverageReference.Features(11, 3, seed), Scores(11, seed));
            using var pool = Pool(features, scores);
            var selected = new RelevantAndDiverse { Beta = beta }.Select(pool, SelectionBudget.Count(4));
            int[] picks = [.. selected.Ids.Select(id => (int)id)];
            var objective = Objective(features, scores, beta, 4);
            for (var step = 0; step < 4; step++)
            {
                int[] before = [.. picks.Take(step)];
                // Float32 coverage; equal gains are told apart by rounding.
                Assert.Equal(
                    Enumerable.Range(0, 11).Except(before).Max(i => objective([.. before, i])),
                    objective([.. before, picks[step]]),
                    1e-4
                );
            }

            Assert.Equal(objective(picks), selected.Utilities.Sum(), 1e-4);
            Assert.True(objective(picks) >= (1 - (1 / Math.E)) * CoverageReference.Subsets(11, 4).Max(objective));
        }
    }

    [Fact]
    public void WithoutBetaItIsTopK()
    {
        var scores = Scores(50, 3);
        using var pool = Pool(CoverageReference.Features(50, 3, 3), scores);
        Assert.Equal(
            new TopK().Select(pool, SelectionBudget.Count(10)).Ids,
            new RelevantAndDiverse { Beta = 0 }
                .Select(pool, SelectionBudget.Count(10))
                .Ids
        );
    }

    /// <summary>With tasks the best of them counts, as in LESS: a candidate for one task is not lost in the mean over all.</summary>
    [Fact]
    public void WithTasksTheBestServedTaskCounts()
    {
        using var pool = Pool([.. Enumerable.Range(0, 60)]);
        Assert.Equal(
            new LessMax().Select(pool, SelectionBudget.Count(10)).Ids,
            new RelevantAndDiverse { Beta = 0 }
                .Select(pool, SelectionBudget.Count(10))
                .Ids
        );
        Assert.NotEqual(
            new LessMax().Select(pool, SelectionBudget.Count(10)).Ids,
            new RelevantAndDiverse { Beta = 0, Aggregation = ScoreAggregation.Mean }
                .Select(pool, SelectionBudget.Count(10))
                .Ids
        );
    }

    /// <summary>Neither the scores' scale nor their shape counts, only their order.</summary>
    [Fact]
    public void BetaMeansTheSameForAllScores()
    {
        var (features, scores) = (CoverageReference.Features(80, 4, 4), Scores(80, 4));
        using var pool = Pool(features, scores);
        using var scaled = Pool(features, [.. scores.Select(s => Math.Exp(9 * s) * 1e-6)]);
        Assert.Equal(
            new RelevantAndDiverse().Select(pool, SelectionBudget.Count(12)).Ids,
            new RelevantAndDiverse().Select(scaled, SelectionBudget.Count(12)).Ids
        );
    }

    /// <summary>Of twenty copies of the best example and others nearly as good, top-k takes copies; this takes one and goes on.</summary>
    [Fact]
    public void CopiesOfTheBestAreTakenOnce()
    {
        var features = CoverageReference.Features(60, 4, 5);
        var scores = Scores(60, 5);
        for (var i = 0; i < 20; i++)
        {
            for (var j = 0; j < 4; j++)
            {
                features[i, j] = j == 0 ? 1 : 0;
            }

            scores[i] = 2;
        }

        using var pool = Pool(features, scores);
        Assert.Equal(10, new TopK().Select(pool, SelectionBudget.Count(10)).Ids.Count(id => id < 20));
        Assert.InRange(
            new RelevantAndDiverse { Beta = 3 }
                .Select(pool, SelectionBudget.Count(10))
                .Ids.Count(id => id < 20),
            1,
            5
        );
    }

    [Fact]
    public void ClustersComeNearTheExactObjective()
    {
        var (features, scores) = (FacilityLocationTests.Clustered(600, 6, 6), Scores(600, 6));
        using var pool = Pool(features, scores);
        var objective = Objective(features, scores, 2, 60);
        var exact = new RelevantAndDiverse { Beta = 2 }.Select(pool, SelectionBudget.Count(60));
        var near = new RelevantAndDiverse
        {
            Beta = 2,
            ExactUpTo = 100,
            ClusterSize = 100,
        }.Select(pool, SelectionBudget.Count(60));
        var top = new TopK().Select(pool, SelectionBudget.Count(60));
        var (best, found, relevant) = (Value(exact), Value(near), Value(top));
        Assert.InRange(found / best, 0.97, 1.01);
        Assert.True(relevant < found);

        double Value(SelectedExamples selected) => objective([.. selected.Ids.Select(id => (int)id)]);
    }

    [Fact]
    public void BadInputIsSaid()
    {
        Assert.Throws<InfluenceException>(() => new RelevantAndDiverse { Beta = -1 });
        Assert.Throws<InfluenceException>(() => new RelevantAndDiverse { Beta = double.NaN });
        using var pool = FacilityLocationTests.Pool(CoverageReference.Features(4, 2, 1));
        Assert.Contains(
            "reads scores",
            Assert.Throws<InfluenceException>(() => new RelevantAndDiverse().Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
    }

    private static double[] Scores(int n, int seed)
    {
        var random = new Random(seed + 100);
        return [.. Enumerable.Range(0, n).Select(_ => random.NextDouble())];
    }

    private static SelectionPool Pool(double[,] features, double[] scores)
    {
        using var scope = NewDisposeScope();
        return new SelectionPool(ExampleScores.Of([.. Enumerable.Range(0, scores.Length).Select(i => (long)i)], scores))
        {
            Features = tensor(features),
        };
    }

    private static Func<int[], double> Objective(double[,] features, double[] scores, double beta, int k)
    {
        var n = scores.Length;
        var cosines = CoverageReference.Pairs(n, (_, _) => 0);
        var halves = CoverageReference.Cosine(features);
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < n; j++)
            {
                cosines[i, j] = (2 * halves[i, j]) - 1;
            }
        }

        double[] means = [.. Enumerable.Range(0, n).Select(i => Enumerable.Range(0, n).Average(j => cosines[i, j]))];
        double[] ranks = [.. scores.Select(s => scores.Count(other => other < s) / (double)(n - 1))];
        return picks =>
            picks.Sum(p => ranks[p])
            + (beta * k / n * Enumerable.Range(0, n).Sum(i => Math.Max(0, picks.Max(j => cosines[i, j]) - means[i])));
    }
}

public sealed class ClusteredRelevantAndDiverseTests : SelectionStrategyContract
{
    // Clusters depend on the seed.
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) =>
        new RelevantAndDiverse
        {
            Seed = seed,
            Beta = 5,
            ExactUpTo = 20,
            ClusterSize = 10,
        };
}
