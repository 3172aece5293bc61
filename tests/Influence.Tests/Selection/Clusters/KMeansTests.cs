using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

public sealed class KMeansTests
{
    /// <summary>All splits of up to eight points into two or three sets; the best of some starts finds the best split.</summary>
    [Theory]
    [InlineData(6, 2, 1)]
    [InlineData(8, 2, 2)]
    [InlineData(7, 3, 3)]
    [InlineData(8, 3, 4)]
    public void FindsTheBestSplitOfFewPoints(int n, int k, int seed)
    {
        using var scope = NewDisposeScope();
        var points = Points(n, 2, seed);
        var best = Splits(n, k).Min(split => Inertia(points, split, k));
        var found = Enumerable
            .Range(0, 20)
            .Min(start =>
            {
                using var clusters = new KMeans(k) { Seed = start, Tolerance = 0 }.Fit(tensor(points));
                // Inertia as reported is the inertia of the split that is reported.
                Assert.Equal(Inertia(points, [.. clusters.Assignment], clusters.Count), clusters.Inertia, 1e-9);
                return clusters.Inertia;
            });
        Assert.Equal(best, found, 1e-9);
    }

    /// <summary>With float64 and no tolerance the result is a fixed point: nearest centroids, and centroids that are means.</summary>
    [Fact]
    public void EveryPointIsWithItsNearestCentroidAndCentroidsAreMeans()
    {
        using var scope = NewDisposeScope();
        var points = Points(300, 4, 5);
        using var clusters = new KMeans(7) { Tolerance = 0, Iterations = 500 }.Fit(tensor(points));
        var centroids = clusters.Centroids;
        for (var i = 0; i < 300; i++)
        {
            var distances = Enumerable
                .Range(0, clusters.Count)
                .Select(c => Enumerable.Range(0, 4).Sum(j => Math.Pow(points[i, j] - centroids[c, j].item<double>(), 2)))
                .ToArray();
            Assert.Equal(Array.IndexOf(distances, distances.Min()), clusters.Assignment[i]);
            Assert.Equal(distances.Min(), clusters.SquaredDistances[i], 1e-9);
        }

        for (var c = 0; c < clusters.Count; c++)
        {
            for (var j = 0; j < 4; j++)
            {
                Assert.Equal(clusters.Members[c].Average(i => points[i, j]), centroids[c, j].item<double>(), 1e-9);
            }
        }
    }

    [Theory]
    [InlineData(ScalarType.Float32, null)]
    [InlineData(ScalarType.Float64, 10)]
    public void TheInertiaNeverRises(ScalarType dtype, int? pointsPerCluster)
    {
        using var scope = NewDisposeScope();
        var features = tensor(Points(2000, 8, 6)).to_type(dtype);
        using var clusters = new KMeans(40) { Tolerance = 0, PointsPerCluster = pointsPerCluster }.Fit(features);
        Assert.True(clusters.InertiaByIteration.Count > 3);
        for (var i = 1; i < clusters.InertiaByIteration.Count; i++)
        {
            // Float32 chooses the nearest centroid up to its rounding.
            Assert.True(clusters.InertiaByIteration[i] <= clusters.InertiaByIteration[i - 1] * (1 + 1e-6));
        }

        Assert.Equal(40, clusters.Count);
        Assert.Equal(2000, clusters.Members.Sum(m => m.Count));
        Assert.All(clusters.Members, m => Assert.NotEmpty(m));
    }

    /// <summary>Far from the origin float32 has few digits left; the clusters are found all the same.</summary>
    [Fact]
    public void ClustersBecomeGroupsByTheIdsOfTheirPoints()
    {
        using var features = torch.tensor(
            new double[,]
            {
                { 0, 0 },
                { 9, 9 },
                { 0, 1 },
                { 9, 8 },
            }
        );
        using var clusters = new KMeans(2).Fit(features);
        var groups = clusters.ToGroups([40, 30, 20, 10]);
        Assert.Equal(["cluster 0", "cluster 1"], groups.Names);
        Assert.Equal(
            [
                [10, 30],
                [20, 40],
            ],
            groups.Names.Select(name => groups[name].Order().ToArray()).OrderBy(ids => ids[0])
        );
        Assert.Contains("4 points", Assert.Throws<InfluenceException>(() => clusters.ToGroups([1, 2])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnOffsetChangesNothing()
    {
        using var scope = NewDisposeScope();
        var features = tensor(
            new float[,]
            {
                { 4000, 0 },
                { 4001, 0 },
                { 4000, 0.5f },
                { 4010, 0 },
                { 4011, 0 },
                { 4010, 0.5f },
            }
        );
        using var clusters = new KMeans(2).Fit(features);
        Assert.Equal(
            [
                [0, 1, 2],
                [3, 4, 5],
            ],
            clusters.Members.Select(m => m.ToArray()).OrderBy(m => m[0])
        );
    }

    /// <summary>Squares of such points leave the range of float32; powers of two, so that nothing else changes.</summary>
    [Theory]
    [InlineData(66)]
    [InlineData(126)]
    [InlineData(-80)]
    public void TheUnitOfPointsDoesNotMatter(int power)
    {
        using var scope = NewDisposeScope();
        // Within 1, so that even the sum over a row of 2^126 times that is beyond float32, the points are not.
        var features = tensor(CoverageReference.Features(60, 3, 4)).to_type(ScalarType.Float32).tanh();
        using var expected = new KMeans(4).Fit(features);
        using var found = new KMeans(4).Fit(features * Math.ScaleB(1, power));
        Assert.Equal(expected.Assignment, found.Assignment);
        Assert.Equal(Math.ScaleB(expected.Inertia, 2 * power), found.Inertia);
        Assert.Equal(expected.InertiaByIteration.Select(i => Math.ScaleB(i, 2 * power)), found.InertiaByIteration);
        Assert.True((found.Centroids * Math.ScaleB(1, -power)).allclose(expected.Centroids, 0, 0));
    }

    [Fact]
    public void FewerDifferentPointsThanClustersGiveFewerClusters()
    {
        using var scope = NewDisposeScope();
        using var one = new KMeans(5).Fit(ones(20, 3) * 0.1);
        Assert.Equal((1, 0.0), (one.Count, one.Inertia));
        using var two = new KMeans(5).Fit(cat([zeros(10, 3), ones(4, 3)]));
        Assert.Equal([4, 10], two.Members.Select(m => m.Count).Order());
        using var all = new KMeans(9).Fit(tensor(Points(6, 2, 7)));
        Assert.Equal((6, 0.0), (all.Count, all.Inertia));
    }

    /// <summary>Most points are one and the same: plain seeding would draw it again and again.</summary>
    [Fact]
    public void DuplicatesDoNotTakeSeveralClusters()
    {
        using var scope = NewDisposeScope();
        var features = cat([zeros(500, 2), tensor(Points(8, 2, 8)).to_type(ScalarType.Float32) + 3]);
        using var clusters = new KMeans(9).Fit(features);
        Assert.Equal(9, clusters.Count);
        Assert.Equal(500, clusters.Members.Max(m => m.Count));
    }

    [Fact]
    public void TheSeedDecides()
    {
        using var scope = NewDisposeScope();
        var features = tensor(Points(400, 3, 9));
        using var first = new KMeans(12) { Seed = 1, PointsPerCluster = 5 }.Fit(features);
        using var again = new KMeans(12) { Seed = 1, PointsPerCluster = 5 }.Fit(features);
        using var other = new KMeans(12) { Seed = 2, PointsPerCluster = 5 }.Fit(features);
        Assert.Equal(first.Assignment, again.Assignment);
        Assert.NotEqual(first.Inertia, other.Inertia);
    }

    [Fact]
    public void NothingStaysAlive()
    {
        using var scope = NewDisposeScope();
        var features = tensor(Points(100, 3, 10));
        new KMeans(4).Fit(features).Dispose();
        var before = LiveTensors.OnThisThread;
        new KMeans(4).Fit(features).Dispose();
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    [Fact]
    public void BadInputIsSaid()
    {
        using var scope = NewDisposeScope();
        Assert.Contains("at least 1 cluster", Assert.Throws<InfluenceException>(() => new KMeans(0)).Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new KMeans(2) { Iterations = 0 });
        Assert.Throws<InfluenceException>(() => new KMeans(2) { Tolerance = double.NaN });
        Assert.Throws<InfluenceException>(() => new KMeans(2) { PointsPerCluster = 0 });
        Assert.Contains("[3]", Assert.Throws<InfluenceException>(() => new KMeans(2).Fit(zeros(3))).Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new KMeans(2).Fit(zeros(3, 2, dtype: ScalarType.Int64)));
        Assert.Contains(
            "NaN",
            Assert.Throws<InfluenceException>(() => new KMeans(2).Fit(full([3, 2], float.NaN))).Message,
            StringComparison.Ordinal
        );
        using var source = new CancellationTokenSource();
        source.Cancel();
        Assert.Throws<OperationCanceledException>(() => new KMeans(2).Fit(zeros(3, 2), source.Token));
    }

    private static double[,] Points(int n, int d, int seed)
    {
        var random = new Random(seed);
        var points = new double[n, d];
        for (var i = 0; i < n; i++)
        {
            for (var j = 0; j < d; j++)
            {
                points[i, j] = random.NextDouble() + random.NextDouble();
            }
        }

        return points;
    }

    private static IEnumerable<int[]> Splits(int n, int k) =>
        Enumerable
            .Range(0, (int)Math.Pow(k, n - 1))
            .Select(code => Enumerable.Range(0, n).Select(i => i == 0 ? 0 : code / (int)Math.Pow(k, i - 1) % k).ToArray());

    private static double Inertia(double[,] points, int[] split, int k) =>
        Enumerable
            .Range(0, k)
            .Sum(c =>
            {
                var members = Enumerable.Range(0, split.Length).Where(i => split[i] == c).ToArray();
                return members.Length == 0
                    ? 0
                    : Enumerable
                        .Range(0, points.GetLength(1))
                        .Sum(j =>
                        {
                            var mean = members.Average(i => points[i, j]);
                            return members.Sum(i => Math.Pow(points[i, j] - mean, 2));
                        });
            });
}
