using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>The candidates in clusters that do not overlap: the pool's groups, or k-means on features of unit length.</summary>
internal sealed class PoolClusters : IDisposable
{
    private PoolClusters(IReadOnlyList<IReadOnlyList<int>> members, Tensor? centroids) => (Members, Centroids) = (members, centroids);

    /// <summary>Positions, ascending in each cluster; no cluster is empty.</summary>
    public IReadOnlyList<IReadOnlyList<int>> Members { get; }

    /// <summary>Unit rows <c>[K, d]</c>; null where the pool has no features.</summary>
    public Tensor? Centroids { get; }

    /// <summary>What is missing of <see cref="Of"/>.</summary>
    /// <param name="name">The strategy's name.</param>
    /// <param name="pool">The pool.</param>
    /// <param name="clusters">k, or null: the pool's groups where it has some.</param>
    public static IEnumerable<string> Problems(string name, SelectionPool pool, int? clusters)
    {
        if (clusters is not null || pool.Groups is not { } groups)
        {
            if (pool.Features is null)
            {
                yield return $"{name} needs clusters: new SelectionPool(...) {{ Groups = ExampleGroups.Of(ids, clusters) }}, or {{ "
                    + "Features = ... } to find them by k-means.";
            }

            yield break;
        }

        var without = pool.Ids.Where(id => !groups.GroupsOf.ContainsKey(id)).ToList();
        if (without.Count > 0)
        {
            yield return $"{name} takes the groups as clusters, and these candidates are in no group: {InfluenceException.List(without)}. "
                + "Set Clusters to find clusters by k-means.";
        }

        var twice = pool.Ids.Where(id => groups.GroupsOf.TryGetValue(id, out var names) && names.Count > 1).ToList();
        if (twice.Count > 0)
        {
            yield return $"{name} takes the groups as clusters, and these candidates are in more than one: "
                + $"{InfluenceException.List(twice)}. Set Clusters to find clusters by k-means.";
        }
    }

    /// <summary>Finds the clusters.</summary>
    /// <param name="pool">Without <see cref="Problems"/>.</param>
    /// <param name="clusters">k, or null: the pool's groups, or where it has none the root of N.</param>
    /// <param name="atMost">The most that null stands for.</param>
    /// <param name="seed">Of k-means.</param>
    /// <param name="cancellationToken">Checked by k-means.</param>
    public static PoolClusters Of(SelectionPool pool, int? clusters, int atMost, long seed, CancellationToken cancellationToken)
    {
        using var scope = NewDisposeScope();
        var unit = pool.Features is { } features ? FeatureBlocks.Normalised(features) : null; // [N, d]
        if (clusters is null && pool.Groups is { } groups)
        {
            // By the lowest position in each: the order in which groups were named is the caller's.
            int[][] members = [.. Enumerable.Range(0, pool.Count).GroupBy(i => groups.GroupsOf[pool.Ids[i]][0]).Select(g => g.ToArray())];
            return new PoolClusters(members, unit is null ? null : Means(unit, members).DetachFromDisposeScope());
        }

        var k = Math.Min(pool.Count, clusters ?? Math.Min(atMost, (int)Math.Ceiling(Math.Sqrt(pool.Count))));
        using var found = new KMeans(k) { Seed = seed }.Fit(unit!, cancellationToken);
        return new PoolClusters(found.Members, FeatureBlocks.Normalised(found.Centroids).DetachFromDisposeScope());
    }

    /// <summary>For each cluster the others whose centroid is nearer than a cosine distance, with that distance.</summary>
    public IReadOnlyList<IReadOnlyList<(int Cluster, double Distance)>> Neighbours(double nearer)
    {
        var neighbours = Members.Select(_ => new List<(int, double)>()).ToList();
        if (Centroids is null || nearer == 0)
        {
            return neighbours;
        }

        using var scope = NewDisposeScope();
        foreach (var (start, length) in FeatureBlocks.Of(Members.Count, Members.Count))
        {
            using var block = NewDisposeScope();
            var distances = Kept(1) - Centroids.narrow(0, start, length).mm(Centroids.t()); // [b, K]
            var pairs = distances.lt(Kept(nearer)).nonzero(); // [pairs, 2]
            var values = distances[distances.lt(Kept(nearer))].to_type(ScalarType.Float64).cpu().data<double>().ToArray();
            var indexes = pairs.cpu().data<long>().ToArray();
            for (var i = 0; i < values.Length; i++)
            {
                var (from, to) = ((int)(start + indexes[2 * i]), (int)indexes[(2 * i) + 1]);
                if (from != to)
                {
                    neighbours[from].Add((to, Math.Max(0, values[i])));
                }
            }
        }

        return neighbours;
    }

    public void Dispose() => Centroids?.Dispose();

    private static Tensor Means(Tensor unit, int[][] members)
    {
        using var scope = NewDisposeScope();
        var cluster = new long[unit.shape[0]];
        for (var c = 0; c < members.Length; c++)
        {
            foreach (var position in members[c])
            {
                cluster[position] = c;
            }
        }

        var sums = zeros([members.Length, unit.shape[1]], unit.dtype, unit.device)
            .index_add(0, tensor(cluster, device: unit.device), unit, Kept(1)); // [K, d]
        return FeatureBlocks.Normalised(sums).MoveToOuterDisposeScope();
    }
}
