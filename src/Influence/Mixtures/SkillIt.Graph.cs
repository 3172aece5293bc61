namespace Influence.Mixtures;

public sealed partial class SkillIt
{
    /// <summary>An edge between two groups, as in the published code; a group's own is 1.</summary>
    private const double EdgeWeight = 0.5;

    /// <summary>
    /// Learns the graph from trial trainings: of each group alone, and of each two together for the same number of steps. Group i teaches
    /// j, with the weight one half, where the two together reach a lower loss on j than j alone; each group teaches itself, with the weight
    /// 1.
    /// </summary>
    /// <param name="groups">k: the number of groups, and of evaluations, one for each.</param>
    /// <param name="train">Trains on one or two groups, by their places, with a seed, for the same number of steps each time, and gives the
    /// loss on each of the k evaluations.</param>
    /// <param name="seeds">A training is made with each; the mean decides.</param>
    /// <param name="cancellationToken">Checked before each training.</param>
    /// <returns><c>[k, k]</c>, for the constructor.</returns>
    /// <remarks>
    /// Cost: k (k + 1) / 2 trainings a seed. No code of the paper learns the graph; this is the recipe of its repository, which takes five
    /// seeds and halves what is off the diagonal.
    /// </remarks>
    /// <exception cref="InfluenceException">Fewer than two groups, no seeds, or other than k finite losses.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static double[,] Graph(
        int groups,
        Func<IReadOnlyList<int>, long, IReadOnlyList<double>> train,
        IReadOnlyList<long> seeds,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(seeds);
        if (groups < 2 || seeds.Count == 0)
        {
            throw new InfluenceException(
                $"A graph is learned of two groups or more, with a seed or more; found {groups} groups and {seeds.Count} seeds."
            );
        }

        double[][] alone = [.. Enumerable.Range(0, groups).Select(i => Losses(i))];
        var graph = new double[groups, groups];
        for (var i = 0; i < groups; i++)
        {
            graph[i, i] = 1;
            for (var j = i + 1; j < groups; j++)
            {
                var together = Losses(i, j);
                graph[i, j] = together[j] < alone[j][j] ? EdgeWeight : 0;
                graph[j, i] = together[i] < alone[i][i] ? EdgeWeight : 0;
            }
        }

        return graph;

        double[] Losses(params int[] on)
        {
            var sums = new double[groups];
            foreach (var seed in seeds)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var losses = train(on, seed);
                if (losses is null || losses.Count != groups || losses.Any(loss => !double.IsFinite(loss)))
                {
                    throw new InfluenceException(
                        $"Training on the groups {string.Join(" and ", on)} gives one finite loss for each of the {groups} groups; found "
                            + $"{losses?.Count ?? 0} losses."
                    );
                }

                for (var j = 0; j < groups; j++)
                {
                    sums[j] += losses[j] / seeds.Count;
                }
            }

            return sums;
        }
    }
}
