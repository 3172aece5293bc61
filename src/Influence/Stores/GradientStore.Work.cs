using System.Globalization;
using Influence.Distributed;
using Influence.Formats;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>A store that several processes write: its shards are the units.</summary>
public sealed partial class GradientStore
{
    /// <summary>What writing a store would take: seconds from a batch that is projected, and its files.</summary>
    /// <param name="task">The model, its loss and, by <c>Layers</c>, the parameters.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="projection">How many dimensions.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The estimate; matrices that the data give, or Adam's moments, take room and time beside it.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    public static Work.Cost Estimate(
        InfluenceTask task,
        Examples train,
        GradientProjection projection,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(projection);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        using var scope = NewDisposeScope();
        var (opened, opening) = SessionSample.Open(() => GradientSession.Open(task, train, null));
        using var session = opened;
        using var noGrad = no_grad();
        var manifest = StoreManifest.Of(
            session,
            [.. train.Ids],
            projection with
            {
                Form = projection.Form == GradientProjection.Kind.Principal ? GradientProjection.Kind.TwoSided : projection.Form,
                Direction = GradientProjection.UpdateDirection.Gradient,
                Preconditioner = null,
                Damping = null,
            }
        );
        Projector? made = null;
        var beginning = Spent.Of(() => made = new Projector(session, manifest, new Dictionary<string, Tensor>(), string.Empty));
        using var projector = made!;
        var type = manifest.Type() == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var projecting = Spent.OfAll(
            Aligned(train, projection.ExamplesPerShard),
            part =>
            {
                foreach (
                    var batch in SubBatches.Within(
                        session,
                        part,
                        LossKind.Training,
                        blocks => projector.ExamplesAtOnce(blocks, projection.MemoryBudget)
                    )
                )
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    using var step = NewDisposeScope();
                    projector.Project(
                        batch,
                        isQuery: false,
                        empty([batch.Count, manifest.Width()], type),
                        new double[batch.Count],
                        new double[batch.Count]
                    );
                }
            }
        );
        var spent = opening + beginning + projecting;
        return new Work.Cost(
            spent.Clock,
            projection.MemoryBudget + (2L * manifest.CountOf(0) * manifest.Width() * (manifest.Type() == ScalarType.Float64 ? 8 : 4)),
            BytesOf(manifest),
            manifest.Shards
        )
        {
            Processor = spent.Processor,
        };
    }

    /// <summary>Writes the shards that are missing and that no other process is at; the store is that of one process, byte for
    /// byte.</summary>
    private static GradientStore WriteShared(
        Work work,
        StoreManifest wanted,
        GradientSession session,
        Examples train,
        GradientProjection projection,
        string folder,
        long[] ids,
        ProgressReporter reporter
    )
    {
        var units = new WorkUnits(train, work with { ExamplesPerUnit = projection.ExamplesPerShard });
        using var shared = WorkFolder.Open(
            work,
            WorkManifest.Of(
                "gradient store",
                wanted.Weights,
                train,
                units,
                session.FirstLoss(train),
                (
                    "the projection",
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{wanted.Form}, {wanted.Dimension}, seed {wanted.Seed}, {wanted.Dtype} {wanted.Direction}"
                    )
                ),
                ("the store's folder", Path.GetFileName(Path.GetFullPath(folder).TrimEnd(Path.DirectorySeparatorChar)))
            ),
            reporter.Token
        );

        // The ids, and the matrices where the data give them, come from one process.
        shared.Do(
            "store",
            1,
            () => false,
            _ => File.Exists(Path.Combine(folder, StoreManifest.FileName)),
            _ => Begin(folder, wanted, ids, session, train, projection, reporter)
        );
        var (manifest, there) = Begin(folder, wanted, ids, session, train, projection, reporter);
        var store = new GradientStore(folder, manifest, ids);
        if (there[0])
        {
            store.CheckFirst(session, train, 0);
        }

        using var scope = NewDisposeScope();
        var unchanged = new UnchangedWeights(session.Task.Model);
        using var projector = new Projector(session, manifest, store.Matrices(), store.Folder);
        var buffer = new ShardBuffer(manifest);
        var aligned = Aligned(train, projection.ExamplesPerShard);
        shared.Do(
            "shard",
            manifest.Shards,
            () => false,
            shard => File.Exists(StoreShard.PathOf(folder, shard)),
            WriteShard,
            shard => reporter.Add(manifest.CountOf(shard))
        );
        return store;

        void WriteShard(int shard)
        {
            var (at, count) = (0, manifest.CountOf(shard));
            var part = aligned.Range(shard * manifest.ExamplesPerShard, count);
            foreach (
                var batch in SubBatches.Within(
                    session,
                    part,
                    LossKind.Training,
                    blocks => projector.ExamplesAtOnce(blocks, projection.MemoryBudget)
                )
            )
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

    private static long BytesIn(string folder) => Directory.Exists(folder) ? FolderSize.Of(folder, "*.bin") : 0;
}
