using Influence.Selection;
using Influence.Tests.Contracts;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class IdealTests : SelectionStrategyContract
{
    protected override bool IsRandom => true;

    protected override SelectionStrategy Strategy(long seed) => new Ideal { Seed = seed, Neighbours = 4 };

    [Fact]
    public void TheHeadOfAChainOfSureEdgesActivatesAll()
    {
        var graphs = Chain(6, 1);
        Assert.Equal([6, 5, 4, 3, 2, 1], Enumerable.Range(0, 6).Select(graphs.Gain));
        Assert.Equal(6, graphs.Add(0));
        Assert.All(Enumerable.Range(0, 6), node => Assert.Equal(0, graphs.Gain(node)));
    }

    [Fact]
    public void WithoutLiveEdgesTheInfluenceIsTheSizeOfTheSet()
    {
        var graphs = Chain(6, 0);
        Assert.Equal([1, 1, 1], new[] { 4, 0, 2 }.Select(graphs.Add));
        Assert.Equal(0, graphs.Gain(4));
    }

    /// <summary>E = 1 + p. Many graphs of 64 draws: the mean of 64,000 draws is off by at most 4 standard errors.</summary>
    [Fact]
    public void AnEdgeOfProbabilityPGivesOnePlusP()
    {
        const double p = 0.3;
        var random = new Random(1);
        var mean = Enumerable
            .Range(0, 1000)
            .Average(_ =>
                new LiveEdgeGraphs(
                    [
                        [(1, p)],
                        [],
                    ],
                    64,
                    (_, _, _) => random.NextDouble()
                ).Gain(0)
            );
        Assert.Equal(1 + p, mean, 4 * Math.Sqrt(p * (1 - p) / 64_000));
    }

    [Fact]
    public void GainsAreMonotoneAndSubmodular()
    {
        for (var seed = 0; seed < 20; seed++)
        {
            var random = new Random(seed);
            (int, double)[][] edges =
            [
                .. Enumerable.Range(0, 10).Select(_ => Enumerable.Range(0, 3).Select(_ => (random.Next(10), 0.5)).ToArray()),
            ];
            var graphs = new LiveEdgeGraphs(edges, 16, (_, _, _) => random.NextDouble());
            var before = Enumerable.Range(0, 10).Select(graphs.Gain).ToArray();
            graphs.Add(seed % 10);
            Assert.All(Enumerable.Range(0, 10), node => Assert.InRange(graphs.Gain(node), 0, before[node]));
        }
    }

    /// <summary>Lazy greedy gives what greedy gives; on up to 12 nodes its reach is at least 1 - 1/e of the best set's.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void ReachesAtLeastWhatGreedyGuarantees(int seed)
    {
        const int n = 12,
            k = 3;
        using var scope = NewDisposeScope();
        var features = rand([n, 4], generator: new Generator((ulong)seed));
        using var pool = new SelectionPool([.. Enumerable.Range(0, n).Select(i => (long)i)]) { Features = features };
        var strategy = new Ideal
        {
            Seed = seed,
            Neighbours = 3,
            Draws = 8,
        };
        var selected = strategy.Select(pool, SelectionBudget.Count(k));

        var graphs = Graphs(pool, strategy);
        var greedy = new List<long>();
        for (var pick = 0; pick < k; pick++)
        {
            var best = Enumerable.Range(0, n).MaxBy(graphs.Gain);
            Assert.Equal(graphs.Add(best), selected.Utilities[pick]);
            greedy.Add(best);
        }

        Assert.Equal(greedy, selected.Ids);
        var optimum = 0.0;
        for (var set = 0; set < 1 << n; set++)
        {
            if (int.PopCount(set) == k)
            {
                var fresh = Graphs(pool, strategy);
                optimum = Math.Max(optimum, Enumerable.Range(0, n).Where(i => (set >> i & 1) == 1).Sum(fresh.Add));
            }
        }

        Assert.InRange(selected.Utilities.Sum(), (1 - Math.Exp(-1)) * optimum, optimum);
    }

    [Fact]
    public void NeighboursAreTheNearestByCosineAndNeverOneself()
    {
        using var scope = NewDisposeScope();
        var neighbours = new CosineNeighbours(
            tensor(
                new float[,]
                {
                    { 1, 0 },
                    { 2, 0.2f },
                    { 0, 3 },
                    { 1, 1 },
                }
            ),
            2,
            (_, _) => { }
        );
        Assert.Equal([1, 3], neighbours.Of(0).ToArray());
        Assert.Equal([0, 3], neighbours.Of(1).ToArray());
        Assert.Equal([3, 1], neighbours.Of(2).ToArray());
        Assert.Equal([1, 0], neighbours.Of(3).ToArray()[..1].Append(neighbours.Of(3)[1] == 2 ? 0 : neighbours.Of(3)[1]));
    }

    [Fact]
    public void IdenticalPointsAndASingleOneAreServed()
    {
        using var same = new SelectionPool([1, 2, 3]) { Features = ones(3, 2) };
        Assert.Equal(3, new Ideal().Select(same, SelectionBudget.Count(3)).Count);
        using var one = new SelectionPool([1]) { Features = ones(1, 2) };
        Assert.Equal([1], new Ideal().Select(one, SelectionBudget.Count(1)).Ids);
        using var zero = new SelectionPool([5, 4]) { Features = zeros(2, 2) };
        Assert.Equal([4, 5], new Ideal().Select(zero, SelectionBudget.Count(2)).Ids);
    }

    [Fact]
    public void SettingsAndPoolsThatAreWrongAreRefused()
    {
        Assert.Throws<InfluenceException>(() => new Ideal { Neighbours = 0 });
        Assert.Throws<InfluenceException>(() => new Ideal { Draws = 65 });
        using var pool = new SelectionPool([1, 2]);
        Assert.Contains(
            "features",
            Assert.Throws<InfluenceException>(() => new Ideal().Select(pool, SelectionBudget.Count(1))).Message,
            StringComparison.Ordinal
        );
    }

    private static LiveEdgeGraphs Chain(int nodes, double probability)
    {
        (int, double)[][] edges = [.. Enumerable.Range(0, nodes).Select(i => i + 1 < nodes ? new[] { (i + 1, probability) } : [])];
        var random = new Random(0);
        return new LiveEdgeGraphs(edges, 10, (_, _, _) => random.NextDouble());
    }

    /// <summary>The same graphs as the strategy's, from its documented weights and keyed numbers.</summary>
    private static LiveEdgeGraphs Graphs(SelectionPool pool, Ideal strategy)
    {
        var run = new SelectionStrategy.Run(strategy, pool, null, default);
        var neighbours = new CosineNeighbours(pool.Features!, strategy.Neighbours, (_, _) => { });
        (int, double)[][] edges =
        [
            .. Enumerable
                .Range(0, pool.Count)
                .Select(i =>
                {
                    var sum = neighbours.Similarities(i).ToArray().Sum(s => (double)s);
                    return neighbours.Of(i).ToArray().Zip(neighbours.Similarities(i).ToArray(), (to, s) => ((int)to, s / sum)).ToArray();
                }),
        ];
        return new LiveEdgeGraphs(edges, strategy.Draws, (draw, rank, from) => run.Uniform($"live edge {rank} of draw {draw}", from));
    }
}
