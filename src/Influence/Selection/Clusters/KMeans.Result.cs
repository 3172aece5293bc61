using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

public sealed partial record KMeans
{
    /// <summary>What k-means found: every cluster has at least one point.</summary>
    public sealed class Result : IDisposable
    {
        private Result(Tensor centroids, int[] assignment, double[] distances, IReadOnlyList<double> inertia)
        {
            (Centroids, Assignment, SquaredDistances, InertiaByIteration) = (centroids, assignment, distances, inertia);
            var sizes = new int[centroids.shape[0]];
            foreach (var cluster in assignment)
            {
                sizes[cluster]++;
            }

            var members = Array.ConvertAll(sizes, size => new int[size]);
            Array.Clear(sizes);
            for (var i = 0; i < assignment.Length; i++)
            {
                members[assignment[i]][sizes[assignment[i]]++] = i;
            }

            Members = members;
        }

        /// <summary><c>[k, d]</c>, of the features' dtype and device.</summary>
        public Tensor Centroids { get; }

        /// <summary>k.</summary>
        public int Count => Members.Count;

        /// <summary>The cluster of each point.</summary>
        public IReadOnlyList<int> Assignment { get; }

        /// <summary>Each point's squared distance to the centroid of its cluster; 0 or infinite where it leaves the range of
        /// float64.</summary>
        public IReadOnlyList<double> SquaredDistances { get; }

        /// <summary>The points of each cluster, ascending.</summary>
        public IReadOnlyList<IReadOnlyList<int>> Members { get; }

        /// <summary>The sum of squared distances over the points that k-means looked at, iteration by iteration; it never rises.</summary>
        public IReadOnlyList<double> InertiaByIteration { get; }

        /// <summary>The sum of squared distances over all points.</summary>
        public double Inertia => SquaredDistances.Sum();

        /// <summary>The clusters as groups, named "cluster 0", "cluster 1", ...: for group influence, mixtures over clusters (CLIMB) and
        /// quotas.</summary>
        /// <param name="ids">The points' ids, in the order of the features.</param>
        /// <returns>One group a cluster.</returns>
        /// <exception cref="InfluenceException">Not one id for each point.</exception>
        public ExampleGroups ToGroups(IReadOnlyList<long> ids)
        {
            ArgumentNullException.ThrowIfNull(ids);
            return ids.Count == Assignment.Count
                ? ExampleGroups.FromMembers([.. Members.Select((members, c) => ($"cluster {c}", members.Select(i => ids[i])))])
                : throw new InfluenceException($"One id for each of the {Assignment.Count} points is expected; found {ids.Count}.");
        }

        /// <summary>Frees the centroids.</summary>
        public void Dispose() => Centroids.Dispose();

        /// <summary>Assigns every point; a cluster that has none, since it was found on a sample, is left out.</summary>
        /// <param name="features"><c>[N, d]</c>.</param>
        /// <param name="unit">What features were divided by for the centroids.</param>
        /// <param name="mean"><c>[1, d]</c>, subtracted from the features after that.</param>
        /// <param name="centroids"><c>[k, d]</c>.</param>
        /// <param name="inertia">By iteration, in squares of the unit.</param>
        internal static Result Of(Tensor features, double unit, Tensor mean, Tensor centroids, IReadOnlyList<double> inertia)
        {
            using var scope = NewDisposeScope();
            var (assignment, distances) = NearestCentroid.Of(features, centroids, unit, mean);
            var number = new int[centroids.shape[0]];
            foreach (var cluster in assignment)
            {
                number[cluster] = 1;
            }

            var kept = Enumerable.Range(0, number.Length).Where(cluster => number[cluster] > 0).Select(cluster => (long)cluster).ToArray();
            for (var i = 0; i < kept.Length; i++)
            {
                number[kept[i]] = i;
            }

            var rows = centroids.index_select(0, tensor(kept, device: centroids.device)).add_(mean).mul_(Kept(unit)); // [k, d]
            return new Result(
                rows.DetachFromDisposeScope(),
                Array.ConvertAll(assignment, cluster => number[cluster]),
                Array.ConvertAll(distances, Squared),
                [.. inertia.Select(Squared)]
            );

            // Not by the unit's square, which may be infinite where the distance is 0.
            double Squared(double distance) => distance * unit * unit;
        }
    }
}
