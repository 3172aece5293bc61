using Influence.Selection;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

/// <summary>CLIMB's clusters against Lance and Williams' recursion, and by hand.</summary>
public sealed class ClusterMergingTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>Ward's distances by the recursion that knows no means: d(k, ij)^2 from d(k, i), d(k, j) and d(i, j).</summary>
    [Theory]
    [InlineData(0.3)]
    [InlineData(0.8)]
    [InlineData(1.5)]
    [InlineData(50)]
    public void GroupsAreThoseOfTheRecursion(double distance)
    {
        random.manual_seed(7);
        var points = randn([24, 3], float64);
        using var clusters = new KMeans(24) { Tolerance = 0, PointsPerCluster = null }.Fit(points);
        long[] ids = [.. Enumerable.Range(0, 24).Select(i => 100L + i)];

        var groups = new ClusterMerging { Distance = distance }.Apply(clusters, ids);

        var found = groups.Names.Select(name => string.Join(",", groups[name])).ToList();
        var expected = Recursion(clusters, distance)
            .Select(g => string.Join(",", g.SelectMany(c => clusters.Members[c]).Order().Select(i => ids[i])));
        Assert.Equal(expected.Order(StringComparer.Ordinal), found.Order(StringComparer.Ordinal));
        Assert.Equal(24, groups.Ids.Count());
    }

    /// <summary>Three tight clusters on a line at 0, 1 and 10: the first two are within 1.5, and the third is of poor quality.</summary>
    [Fact]
    public void PoorClustersGoAndNearOnesBecomeOne()
    {
        var points = tensor(
            new[,]
            {
                { 0.0 },
                { 0.0 },
                { 1 },
                { 1 },
                { 10 },
                { 10 },
            }
        );
        long[] ids = [5, 6, 7, 8, 9, 10];
        using var clusters = new KMeans(3) { Tolerance = 0 }.Fit(points);
        var quality = ExampleScores.Of([10, 9, 8, 7, 6, 5], [0.0, 1, 2, 3, 2, 3], "quality");

        var groups = new ClusterMerging().Apply(clusters, ids, (quality, 1.0));
        Assert.Single(groups.Names);
        Assert.Equal([5, 6, 7, 8], groups["group 0"]);
        Assert.Equal(
            2,
            new ClusterMerging { Distance = 0.5 }
                .Apply(clusters, ids, (quality, 1.0))
                .Names.Count
        );
        Assert.Equal(2, new ClusterMerging().Apply(clusters, ids).Names.Count);

        Assert.Throws<InfluenceException>(() => new ClusterMerging().Apply(clusters, ids, (quality, 9.0)));
        Assert.Throws<InfluenceException>(() => new ClusterMerging().Apply(clusters, ids[1..]));
        Assert.Throws<InfluenceException>(() => new ClusterMerging().Apply(clusters, ids, (ExampleScores.Of([5], [1.0]), 0.0)));
        Assert.Throws<InfluenceException>(() => new ClusterMerging { Distance = -1 });
    }

    private static List<List<int>> Recursion(KMeans.Result clusters, double distance)
    {
        var rows = clusters.Centroids;
        var sets = Enumerable.Range(0, clusters.Count).Select(i => new List<int> { i }).ToList();
        var d = new Dictionary<(List<int>, List<int>), double>();
        double Of(List<int> a, List<int> b) => d.TryGetValue((a, b), out var found) ? found : d[(b, a)];
        foreach (var (i, a) in sets.Index())
        {
            foreach (var (j, b) in sets.Index().Take(i))
            {
                d[(a, b)] = (rows[i] - rows[j]).norm().item<double>();
            }
        }

        while (sets.Count > 1)
        {
            var (a, b) = (from x in sets from y in sets where x != y select (x, y)).MinBy(pair => Of(pair.x, pair.y));
            if (Of(a, b) > distance)
            {
                break;
            }

            List<int> joined = [.. a, .. b];
            var between = Of(a, b);
            sets.Remove(a);
            sets.Remove(b);
            foreach (var k in sets)
            {
                var total = a.Count + b.Count + k.Count;
                d[(joined, k)] = Math.Sqrt(
                    (((a.Count + k.Count) * Square(Of(a, k))) + ((b.Count + k.Count) * Square(Of(b, k))) - (k.Count * Square(between)))
                        / total
                );
            }

            sets.Add(joined);
        }

        return sets;

        static double Square(double value) => value * value;
    }
}
