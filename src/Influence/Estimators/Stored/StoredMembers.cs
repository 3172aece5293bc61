using Influence.Gradients;
using Influence.Stores;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>What estimators over stores share: the members with their models, the rows that are wanted, and the way through the shards of
/// all members in step.</summary>
/// <param name="stores">The members, alike.</param>
/// <param name="checkpoints">Those of the task's model; null for its current weights.</param>
/// <param name="otherModels">Models of their own.</param>
internal sealed class StoredMembers(
    IReadOnlyList<GradientStore> stores,
    IReadOnlyList<Checkpoint>? checkpoints,
    IReadOnlyList<InfluenceTask> otherModels
)
{
    public GradientStore First => stores[0];

    public int Count => stores.Count;

    /// <summary>A copy of the list, checked.</summary>
    public static IReadOnlyList<GradientStore> Copy(IReadOnlyList<GradientStore> stores)
    {
        ArgumentNullException.ThrowIfNull(stores);
        IReadOnlyList<GradientStore> own = [.. stores];
        GradientStore.CheckAlike(own);
        return own;
    }

    /// <summary>Calls for each member, with its model's weights in place.</summary>
    public void ForEach(InfluenceTask task, Action<GradientStore, InfluenceTask, int> use)
    {
        var own = checkpoints?.Count ?? (stores.Count == otherModels.Count ? 0 : 1);
        if (own + otherModels.Count != stores.Count)
        {
            throw new InfluenceException(
                $"There are {stores.Count} members and {own + otherModels.Count} models for them ({own} of the task, "
                    + $"{otherModels.Count} others). Give Checkpoints, or OtherModels, in the order in which the members were written."
            );
        }

        using var weights = new WeightKeeper(task.Model, checkpoints ?? []);
        for (var m = 0; m < stores.Count; m++)
        {
            if (m < own)
            {
                weights.Load(m);
            }

            use(stores[m], m < own ? task : otherModels[m - own], m);
        }
    }

    /// <summary>The rows of some examples of the store, ascending.</summary>
    public List<int> Wanted(IReadOnlyList<long> ids)
    {
        var positions = new List<int>(ids.Count);
        var next = 0;
        foreach (var id in ids)
        {
            while (next < First.Ids.Count && First.Ids[next] != id)
            {
                next++;
            }

            if (next == First.Ids.Count)
            {
                throw new InfluenceException(
                    $"The training examples are the store's, all or some, in its order; the one with id {id} is not in "
                        + $"{First.Folder}, or comes earlier there. Write Score(task, queries) for all of the store's."
                );
            }

            positions.Add(next++);
        }

        return positions;
    }

    /// <summary>Hands the scores of shard after shard to a sink; shards without a wanted row are not read.</summary>
    /// <param name="sink">Begun.</param>
    /// <param name="wanted">The rows, ascending.</param>
    /// <param name="reporter">Told after each shard.</param>
    /// <param name="scores">From the members' shards, mapped, to scores <c>[Q, n]</c>.</param>
    public void Blocks(ScoreSink sink, List<int> wanted, ProgressReporter reporter, Func<IReadOnlyList<ShardMap>, int, Tensor> scores)
    {
        var at = 0;
        for (var shard = 0; shard < First.Shards && at < wanted.Count; shard++)
        {
            reporter.Token.ThrowIfCancellationRequested();
            var (first, count) = First.RowsOf(shard);
            var chosen = wanted.Skip(at).TakeWhile(p => p < first + count).Select(p => (long)p - first).ToArray();
            if (chosen.Length > 0)
            {
                using var scope = NewDisposeScope();
                var maps = new List<ShardMap>();
                try
                {
                    foreach (var store in stores)
                    {
                        maps.Add(store.Map(shard));
                    }

                    var values = scores(maps, first);
                    sink.Add(0, at, chosen.Length < count ? values.index_select(1, tensor(chosen)) : values);
                }
                finally
                {
                    maps.ForEach(map => map.Dispose());
                }

                at += chosen.Length;
            }

            reporter.Add(count);
        }
    }
}
