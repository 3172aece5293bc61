using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// CLIMB's clusters: of the many clusters that k-means found, those of poor quality are dropped, and those that lie near each other become
/// one, so that some twenty groups are left to mix. Quality is the mean of a score over a cluster's members; near is by Ward's linkage of
/// the centroids,
/// <code>distance(A, B) = sqrt(2 |A| |B| / (|A| + |B|)) ||mean of A - mean of B||</code>
/// with |A| the number of centroids in A: the two nearest become one until none are within <see cref="Distance"/>.
/// </summary>
/// <remarks>
/// Embed, cluster by <see cref="KMeans"/> (a thousand in the paper), merge, and give the groups to <c>MixtureSearch</c>. Distances are
/// those of the features' unit: 1.5 is the published code's, for embeddings of unit length; write another for yours. Cost: k^3 / 6
/// comparisons.
/// Diao et al., "CLIMB: CLustering-based Iterative Data Mixture Bootstrapping", 2025; Ward, 1963.
/// </remarks>
/// <example>
/// <code>
/// using var clusters = new KMeans(100).Fit(embeddings);
/// var groups = new ClusterMerging().Apply(clusters, train.Ids, (quality, 1.0));
/// </code>
/// </example>
public sealed record ClusterMerging
{
    /// <summary>Clusters nearer than this, or as near, become one.</summary>
    /// <value>1.5, as published.</value>
    /// <exception cref="InfluenceException">Negative or not finite.</exception>
    public double Distance
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1.5;

    /// <summary>Drops and merges.</summary>
    /// <param name="clusters">What k-means found; it stays the caller's.</param>
    /// <param name="ids">The points' ids, in the order of the features.</param>
    /// <param name="quality">Scores of the same examples, high = good, each with the least mean of a cluster that is kept. None: nothing is
    /// dropped.</param>
    /// <returns>The groups, named "group 0", "group 1", ... in the order of their first cluster; examples of dropped clusters are in
    /// none.</returns>
    /// <exception cref="InfluenceException">Not one id for each point, scores of other examples or that are no numbers, or no cluster that
    /// is good enough.</exception>
    public ExampleGroups Apply(
        KMeans.Result clusters,
        IReadOnlyList<long> ids,
        params IReadOnlyList<(ExampleScores Scores, double Least)> quality
    )
    {
        ArgumentNullException.ThrowIfNull(clusters);
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(quality);
        if (ids.Count != clusters.Assignment.Count)
        {
            throw new InfluenceException($"One id for each of the {clusters.Assignment.Count} points is expected; found {ids.Count}.");
        }

        var kept = Good(clusters, ids, quality);
        if (kept.Count == 0)
        {
            throw new InfluenceException(
                $"None of the {clusters.Count} clusters has means of quality that are high enough. Lower what is asked for."
            );
        }

        var groups = Merge(Rows(clusters, kept)).Select(places => places.Select(place => kept[place]).ToList()).OrderBy(g => g[0]);
        return ExampleGroups.FromMembers([
            .. groups.Select(
                (group, g) => ($"group {g}", group.SelectMany(cluster => clusters.Members[cluster]).Order().Select(i => ids[i]))
            ),
        ]);
    }

    /// <summary>Clusters whose means are all high enough, ascending.</summary>
    private static List<int> Good(
        KMeans.Result clusters,
        IReadOnlyList<long> ids,
        IReadOnlyList<(ExampleScores Scores, double Least)> quality
    )
    {
        var kept = Enumerable.Range(0, clusters.Count);
        foreach (var (scores, least) in quality)
        {
            ArgumentNullException.ThrowIfNull(scores);
            var by = scores.Ids.Zip(scores.Values).ToDictionary(pair => pair.First, pair => pair.Second);
            if (ids.Where(id => !by.TryGetValue(id, out var value) || double.IsNaN(value)).ToList() is { Count: > 0 } missing)
            {
                throw new InfluenceException(
                    $"\"{scores.Title}\" has no number for these examples of the clusters: ids {InfluenceException.List(missing)}."
                );
            }

            kept = kept.Where(cluster => clusters.Members[cluster].Average(i => by[ids[i]]) >= least).ToList();
        }

        return [.. kept];
    }

    private static double[][] Rows(KMeans.Result clusters, List<int> kept)
    {
        using var scope = NewDisposeScope();
        var width = (int)clusters.Centroids.shape[1];
        var values = clusters.Centroids.to_type(ScalarType.Float64).cpu().contiguous().data<double>().ToArray();
        return [.. kept.Select(cluster => values[(cluster * width)..((cluster + 1) * width)])];
    }

    /// <summary>Ward's linkage, cut: the places of the rows that belong together, ascending.</summary>
    private List<List<int>> Merge(double[][] rows)
    {
        var means = rows.Select(row => (double[])row.Clone()).ToList();
        var sets = Enumerable.Range(0, rows.Length).Select(i => new List<int> { i }).ToList();
        var distances = means.Select((_, i) => Enumerable.Range(0, i).Select(j => Between(i, j)).ToList()).ToList();
        while (sets.Count > 1)
        {
            var (left, right, least) = (0, 0, double.PositiveInfinity);
            for (var i = 1; i < sets.Count; i++)
            {
                for (var j = 0; j < i; j++)
                {
                    if (distances[i][j] < least)
                    {
                        (left, right, least) = (j, i, distances[i][j]);
                    }
                }
            }

            if (!(least <= Distance))
            {
                break;
            }

            // The right one joins the left one and leaves.
            var (a, b) = (sets[left].Count, sets[right].Count);
            for (var d = 0; d < means[left].Length; d++)
            {
                means[left][d] = ((a * means[left][d]) + (b * means[right][d])) / (a + b);
            }

            sets[left].AddRange(sets[right]);
            sets.RemoveAt(right);
            means.RemoveAt(right);
            distances.RemoveAt(right);
            for (var i = right; i < sets.Count; i++)
            {
                distances[i].RemoveAt(right);
            }

            for (var other = 0; other < sets.Count; other++)
            {
                if (other != left)
                {
                    distances[Math.Max(left, other)][Math.Min(left, other)] = Between(left, other);
                }
            }
        }

        sets.ForEach(set => set.Sort());
        return sets;

        double Between(int i, int j)
        {
            var sum = 0.0;
            for (var d = 0; d < means[i].Length; d++)
            {
                var gap = means[i][d] - means[j][d];
                sum += gap * gap;
            }

            return Math.Sqrt(2.0 * sets[i].Count * sets[j].Count / (sets[i].Count + sets[j].Count) * sum);
        }
    }
}
