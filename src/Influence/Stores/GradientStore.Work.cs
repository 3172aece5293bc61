using System.Globalization;
using Influence.Distributed;
using Influence.Gradients;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>A store that several processes write: its shards are the units.</summary>
public sealed partial class GradientStore
{
    /// <summary>Writes the shards that are missing and that no other process is at; the store is that of one process, byte for byte.</summary>
    private static GradientStore WriteShared(
        Work work, GradientSession session, Examples train, GradientProjection projection, string folder, long[] ids, ProgressReporter reporter)
    {
        var wanted = StoreManifest.Of(session, ids, projection);
        var units = new WorkUnits(train, work with { ExamplesPerUnit = projection.ExamplesPerShard });
        using var shared = WorkFolder.Open(work, WorkManifest.Of(
            "gradient store",
            wanted.Weights,
            train,
            units,
            session.FirstLoss(train),
            ("the projection", string.Create(CultureInfo.InvariantCulture, $"{wanted.Form}, {wanted.Dimension}, seed {wanted.Seed}, {wanted.Dtype} {wanted.Direction}")),
            ("the store's folder", Path.GetFileName(Path.GetFullPath(folder).TrimEnd(Path.DirectorySeparatorChar)))), reporter.Token);
        WorkFolder.CheckFree(folder, BytesOf(wanted) - BytesIn(folder));

        // The ids, and the matrices where the data give them, come from one process.
        shared.Do("store", 1, () => false, _ => File.Exists(Path.Combine(folder, StoreManifest.FileName)), _ => Begin(folder, wanted, ids, session, train, projection, reporter));
        var (manifest, there) = Begin(folder, wanted, ids, session, train, projection, reporter);
        var store = new GradientStore(folder, manifest, ids);
        if (there[0])
        {
            store.CheckFirst(session, train, 0);
        }

        using var scope = NewDisposeScope();
        var unchanged = new UnchangedWeights(session.Task.Model);
        var projector = new Projector(session, manifest, store.Matrices());
        var buffer = new ShardBuffer(manifest);
        var aligned = Aligned(train, projection.ExamplesPerShard);
        shared.Do("shard", manifest.Shards, () => false, shard => File.Exists(StoreShard.PathOf(folder, shard)), WriteShard, shard => reporter.Add(manifest.CountOf(shard)));
        return store;

        void WriteShard(int shard)
        {
            var (at, count) = (0, manifest.CountOf(shard));
            var part = aligned.Range(shard * manifest.ExamplesPerShard, count);
            foreach (var batch in SubBatches.Within(session, part, LossKind.Training, blocks => projector.ExamplesAtOnce(blocks, projection.MemoryBudget)))
            {
                reporter.Token.ThrowIfCancellationRequested();
                using var step = NewDisposeScope();
                projector.Project(batch, isQuery: false, buffer.Rows(at, batch.Count), buffer.Norms.AsSpan(at), buffer.Losses.AsSpan(at));
                at += batch.Count;
                reporter.Add(batch.Count);
            }

            unchanged.Check();
            StoreShard.Write(folder, manifest, shard, buffer.Address, buffer.Norms[..count], buffer.Losses[..count]);
        }
    }

    private static long BytesOf(StoreManifest manifest) =>
        (8L * manifest.Count) + Enumerable.Range(0, manifest.Shards).Sum(shard => (long)StoreShard.Length(manifest, shard));

    private static long BytesIn(string folder) => Directory.Exists(folder) ? new DirectoryInfo(folder).EnumerateFiles("*.bin").Sum(file => file.Length) : 0;
}
