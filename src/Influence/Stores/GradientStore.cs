using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// A folder of projected per-example gradients: the training data pass the model once, and every later query only reads files. Of each
/// example it holds, layer by layer,
/// <code>vec(R_o' G R_i)</code>
/// (see <see cref="GradientProjection"/>) and the exact norm of its whole gradient.
/// </summary>
/// <remarks>
/// <para>
/// The folder: <c>manifest.json</c>, with the fingerprint of the weights, the layers, the projection and the hash of each file;
/// <c>ids.bin</c>, the ids as int64; <c>shard-000000.bin</c> and so on, each of <see cref="GradientProjection.ExamplesPerShard"/> examples.
/// Each file is written aside and renamed. A call that was cut off at any instant is taken up by the same call at the first shard that is
/// missing, and the store ends the same byte for byte (on the same machine, with the same batches).
/// </para>
/// <para>
/// It is of one set of weights: another model's, or the same after a step, is refused. That data and loss are the same is checked for the first
/// example alone. Cost: one forward and backward pass over the training data; T (I k + O k + k^2) operations a
/// layer and example; on disk 4 k^2 bytes a layer and example (float32; int8 k^2 (1 + 1/32)).
/// </para>
/// <para>Score with <c>new StoredGradients(store).Score(task, queries)</c> of <c>Influence.Estimators</c>.</para>
/// </remarks>
public sealed class GradientStore
{
    // Another example's gradient is as far away as both are long; what rounding, another processor and float16 make is far below.
    // Int8 makes 0.006 of normal numbers, and sqrt(128) / 254 = 0.045 where all but one number of each block are lost to half a scale.
    private const double LargestError = 0.05;
    private const double SmallestError = 1e-5;

    private readonly StoreManifest _manifest;
    private readonly long[] _ids;

    private GradientStore(string folder, StoreManifest manifest, long[] ids) => (Folder, _manifest, _ids) = (folder, manifest, ids);

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>The training examples' ids, in the order of the rows.</summary>
    public IReadOnlyList<long> Ids => _ids;

    /// <summary>The projection that it was written with.</summary>
    public GradientProjection Projection => new()
    {
        Dimension = _manifest.Dimension, Seed = _manifest.Seed, Dtype = _manifest.Type(), ExamplesPerShard = _manifest.ExamplesPerShard,
    };

    /// <summary>K, how many numbers it holds of each example.</summary>
    public long Width => _manifest.Width();

    /// <summary>The layers, in the order of their columns.</summary>
    internal IReadOnlyList<StoredLayer> Layers => _manifest.Layers;

    /// <summary>In what scores are computed.</summary>
    internal ScalarType Dtype => _manifest.Type() == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;

    /// <summary>Writes the projected gradients of the training loss, or what is missing of them in a folder that the same call began.</summary>
    /// <param name="task">The model, its loss and, by <c>Layers</c>, the parameters. The model is left as it was found.</param>
    /// <param name="train">N training examples, in the same order at each call.</param>
    /// <param name="projection">How many dimensions.</param>
    /// <param name="folder">The folder; it is made where it is missing.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches; what was written stays, and the same call goes on from there.</param>
    /// <returns>The store, complete.</returns>
    /// <exception cref="InfluenceException">
    /// Bad input; the folder holds a store of other weights, examples or another projection, or a damaged file, which is named.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static GradientStore Write(
        InfluenceTask task,
        Examples train,
        GradientProjection projection,
        string folder,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(projection);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(task, train, null);
        using var noGrad = no_grad();
        long[] ids = [.. train.Ids];
        var manifest = Begin(folder, StoreManifest.Of(session, ids, projection), ids);
        var store = new GradientStore(folder, manifest, ids);
        if (manifest.ShardHashes[0] is not null)
        {
            store.CheckFirst(session, train, 0);
        }

        if (manifest.ShardHashes.Contains(null))
        {
            manifest = WriteMissing(session, train, projection.MemoryBudget, folder, manifest, new ProgressReporter(progress, "gradient store", 1, ids.Length, cancellationToken));
        }

        return new GradientStore(folder, manifest, ids);
    }

    /// <summary>Opens a store that is complete. Its shards are checked as they are read.</summary>
    /// <param name="folder">The folder.</param>
    /// <returns>The store.</returns>
    /// <exception cref="InfluenceException">It holds no store, or one that is not complete; a file that is missing or damaged is named.</exception>
    public static GradientStore Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var manifest = StoreManifest.Load(folder);
        var missing = Enumerable.Range(0, manifest.ShardHashes.Length)
            .Where(s => manifest.ShardHashes[s] is null || !File.Exists(Path.Combine(folder, StoreManifest.ShardName(s)))).Select(StoreManifest.ShardName).ToList();
        if (missing.Count > 0)
        {
            throw new InfluenceException(
                $"The gradient store in {folder} is not complete: {InfluenceException.List(missing)} of {manifest.ShardHashes.Length} shards are missing. " +
                "Call GradientStore.Write again with the arguments that it was begun with: it writes what is missing.");
        }

        return new GradientStore(folder, manifest, ReadIds(folder, manifest));
    }

    /// <summary>One line: examples, numbers of each, folder.</summary>
    /// <returns>For example <c>1,000 gradients of 8,192 numbers in store</c>.</returns>
    public override string ToString() => FormattableString.Invariant($"{_ids.Length:N0} gradients of {Width:N0} numbers in {Folder}");

    /// <summary>Reads shard by shard: the first row's position, rows <c>[n, K]</c> and exact norms <c>[n]</c> in <see cref="Dtype"/>, which live until the delegate returns.</summary>
    internal void Read(Action<int, Tensor, Tensor> read, CancellationToken token)
    {
        for (var shard = 0; shard < _manifest.ShardHashes.Length; shard++)
        {
            token.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var (rows, norms) = ReadShard(shard);
            read(shard * _manifest.ExamplesPerShard, rows, norms.to_type(Dtype));
        }
    }

    /// <summary>The projected gradients of the queries' measurement, <c>[Q, K]</c>, and their exact norms <c>[Q]</c>, in <see cref="Dtype"/> and the current scope.</summary>
    /// <exception cref="InfluenceException">The model's weights or layers are not the store's.</exception>
    internal (Tensor Rows, Tensor Norms, ParameterCoverage Coverage) Project(InfluenceTask task, Examples queries, MemoryBudget budget, ProgressReporter progress)
    {
        using var scope = NewDisposeScope();

        // The training loss may not know the queries' tensors.
        var own = task.Measurement is { } measurement ? task with { TrainingLoss = measurement, Measurement = null } : task;
        using var session = GradientSession.Open(own, queries, null);
        using var noGrad = no_grad();
        CheckModel(session);
        var unchanged = new UnchangedWeights(task.Model);
        var projector = new Projector(session, _manifest.Layers, _manifest.Seed);
        var (rows, norms) = (zeros([queries.Count, Width], Dtype), zeros([queries.Count], Dtype));
        long at = 0;
        foreach (var batch in SubBatches.Within(session, queries, LossKind.Training, blocks => projector.ExamplesAtOnce(blocks, budget)))
        {
            progress.Token.ThrowIfCancellationRequested();
            using var step = NewDisposeScope();
            var (batchRows, batchNorms) = projector.Project(batch, LossKind.Training);
            rows.narrow(0, at, batch.Count).copy_(batchRows);
            norms.narrow(0, at, batch.Count).copy_(batchNorms);
            at += batch.Count;
        }

        unchanged.Check();
        return (rows.MoveToOuterDisposeScope(), norms.MoveToOuterDisposeScope(), session.Coverage);
    }

    /// <summary>Checks that the first of some training examples is the one whose gradient is stored under its id: ids say nothing of data and loss.</summary>
    /// <exception cref="InfluenceException">It is not; or the model's weights or layers are not the store's.</exception>
    internal void CheckData(InfluenceTask task, Examples train, int position)
    {
        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(task with { Measurement = null }, train, null);
        using var noGrad = no_grad();
        CheckModel(session);
        CheckFirst(session, train, position);
    }

    private void CheckFirst(GradientSession session, Examples train, int position)
    {
        foreach (var batch in train.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            var (found, _) = new Projector(session, _manifest.Layers, _manifest.Seed).Project(batch.Pick([0]), LossKind.Training);
            var shard = position / _manifest.ExamplesPerShard;
            var (rows, _) = ReadShard(shard);
            var expected = rows[position - (shard * _manifest.ExamplesPerShard)].to_type(ScalarType.Float64);
            var error = (found[0].to_type(ScalarType.Float64) - expected).norm().item<double>();
            if (error > (LargestError * expected.norm().item<double>()) + SmallestError)
            {
                throw new InfluenceException(
                    $"The gradient of the training example with id {batch.Ids[0]} is not the one that the store in {Folder} has under that id: the examples, or their order, " +
                    "or the loss are others than it was written with, or the model draws random numbers (call model.eval()). Use those, or write a new store to another folder.")
                {
                    ExampleIds = [batch.Ids[0]],
                };
            }
        }
    }

    private (Tensor Rows, Tensor Norms) ReadShard(int shard) => StoreShard.Read(Folder, _manifest, shard);

    private void CheckModel(GradientSession session)
    {
        var found = session.WeightsFingerprint();
        if (found != _manifest.Weights)
        {
            throw new InfluenceException(
                $"The gradient store in {Folder} is of other weights, or of other layers, than the model has (the store's: {_manifest.Weights}; now: {found}). " +
                "Load the weights that it was written with and use the same Layers, or write a new store to another folder.");
        }

        var layers = session.Parts.SelectMany(parts => parts).Select(part => StoredLayer.Of(part, _manifest.Dimension)).ToList();
        if (!layers.ToHashSet().SetEquals(_manifest.Layers))
        {
            throw new InfluenceException(
                $"The gradient store in {Folder} holds the layers {InfluenceException.List([.. _manifest.Layers.Select(l => l.Name)])}; " +
                $"now the queries have {InfluenceException.List([.. layers.Select(l => l.Name)])}. Use the task that it was written with.");
        }
    }

    /// <summary>The manifest to go on with: a new one, or the folder's where it is of the same call and its files are as they were written.</summary>
    private static StoreManifest Begin(string folder, StoreManifest wanted, long[] ids)
    {
        if (!File.Exists(Path.Combine(folder, StoreManifest.FileName)))
        {
            WriteIds(folder, ids);
            wanted.Save(folder);
            return wanted;
        }

        var found = StoreManifest.Load(folder);
        var differences = wanted.DifferencesFrom(found);
        if (differences.Count > 0)
        {
            throw new InfluenceException(
                $"{folder} holds another gradient store; it differs in {string.Join("; ", differences)}. Write to another folder, or delete this one.");
        }

        if (File.Exists(Path.Combine(folder, StoreManifest.IdsName)))
        {
            ReadIds(folder, found);
        }
        else
        {
            WriteIds(folder, ids);
        }

        for (var shard = 0; shard < found.ShardHashes.Length; shard++)
        {
            var path = Path.Combine(folder, StoreManifest.ShardName(shard));
            if (found.ShardHashes[shard] is null)
            {
                continue;
            }

            if (File.Exists(path))
            {
                StoreShard.Verify(folder, found, shard);
            }
            else
            {
                found = found.WithShard(shard, null);
            }
        }

        return found;
    }

    private static StoreManifest WriteMissing(
        GradientSession session, Examples train, MemoryBudget budget, string folder, StoreManifest manifest, ProgressReporter reporter)
    {
        using var scope = NewDisposeScope();
        var unchanged = new UnchangedWeights(session.Task.Model);
        var projector = new Projector(session, manifest.Layers, manifest.Seed);
        var type = manifest.Type() == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        var (rows, norms) = (zeros([manifest.CountOf(0), manifest.Width()], type), zeros([manifest.CountOf(0)], ScalarType.Float64));
        var at = 0;
        foreach (var batch in SubBatches.Within(session, train, LossKind.Training, blocks => projector.ExamplesAtOnce(blocks, budget)))
        {
            for (var start = 0; start < batch.Count;)
            {
                reporter.Token.ThrowIfCancellationRequested();
                var (shard, first) = (at / manifest.ExamplesPerShard, at % manifest.ExamplesPerShard);
                var count = Math.Min(batch.Count - start, manifest.CountOf(shard) - first);
                if (manifest.ShardHashes[shard] is null)
                {
                    // Cut where a shard ends, so that its rows do not depend on whether the one before it was there.
                    using var step = NewDisposeScope();
                    var part = count == batch.Count ? batch : batch.Pick([.. Enumerable.Range(start, count)]);
                    var (partRows, partNorms) = projector.Project(part, LossKind.Training);
                    rows.narrow(0, first, count).copy_(partRows);
                    norms.narrow(0, first, count).copy_(partNorms);
                    if (first + count == manifest.CountOf(shard))
                    {
                        unchanged.Check();
                        var hash = StoreShard.Write(folder, manifest, shard, rows.narrow(0, 0, first + count), norms.narrow(0, 0, first + count));
                        manifest = manifest.WithShard(shard, hash);
                        manifest.Save(folder);
                    }
                }

                at += count;
                start += count;
                reporter.Add(count);
            }
        }

        return manifest;
    }

    private static void WriteIds(string folder, long[] ids) =>
        AtomicFile.Write(Path.Combine(folder, StoreManifest.IdsName), stream => stream.Write(StoreManifest.Bytes(ids)));

    private static long[] ReadIds(string folder, StoreManifest manifest)
    {
        var path = Path.Combine(folder, StoreManifest.IdsName);
        byte[] bytes;
        try
        {
            bytes = SharedFile.ReadAllBytes(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }

        return bytes.Length == 8L * manifest.Count && StoreManifest.Hash(bytes) == manifest.IdsHash
            ? [.. Enumerable.Range(0, manifest.Count).Select(i => BitConverter.ToInt64(bytes, 8 * i))]
            : throw new InfluenceException($"{path} is damaged: its hash is not the manifest's. Delete that file and call GradientStore.Write again with the same arguments.");
    }
}
