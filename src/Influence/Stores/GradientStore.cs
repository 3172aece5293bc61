using System.Globalization;
using Influence.Distributed;
using Influence.Formats;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// A folder of projected per-example gradients: the training data pass the model once, and every later query only reads files. Of each
/// example it holds, layer by layer,
/// <code>vec(R_o' G R_i)</code>
/// (see <see cref="GradientProjection"/>) the exact norm of its whole gradient, and its loss.
/// </summary>
/// <remarks>
/// <para>
/// The folder: <c>manifest.json</c>, with the fingerprint of the weights, the layers and the projection;
/// <c>ids.bin</c>, the ids as int64; <c>shard-000000.bin</c> and so on, each of <see cref="GradientProjection.ExamplesPerShard"/> examples
/// and ending with a hash. Each file is written aside and renamed. A call that was cut off at any instant is taken up by the same call at
/// the first shard that is missing, and the store ends the same byte for byte (on the same machine, with the same batches).
/// </para>
/// <para>
/// It is of one set of weights: another model's, or the same after a step, is refused. That data and loss are the same is checked for the
/// first example alone. Cost: one forward and backward pass over the training data; T (I k + O k + k^2) operations a
/// layer and example; on disk 4 k^2 bytes a layer and example (float32; int8 k^2 (1 + 1/32)).
/// </para>
/// <para>Score with <c>new StoredGradients(store).Score(task, queries)</c> of <c>Influence.Estimators</c>.</para>
/// </remarks>
public sealed partial class GradientStore
{
    // Another example's gradient is as far away as both are long; what rounding, another processor and float16 make is far below.
    // Int8 makes 0.006 of normal numbers, and sqrt(128) / 254 = 0.045 where all but one number of each block are lost to half a scale.
    private const double LargestError = 0.05;
    private const double SmallestError = 1e-5;

    private readonly StoreManifest _manifest;
    private readonly long[] _ids;
    private readonly Dictionary<int, (long Length, long Written)> _verified = [];

    private GradientStore(string folder, StoreManifest manifest, long[] ids) => (Folder, _manifest, _ids) = (folder, manifest, ids);

    /// <summary>The folder.</summary>
    public string Folder { get; }

    /// <summary>The training examples' ids, in the order of the rows.</summary>
    public IReadOnlyList<long> Ids => _ids;

    /// <summary>The projection that it was written with.</summary>
    public GradientProjection Projection =>
        new()
        {
            Form = _manifest.FormOf(),
            Dimension = _manifest.Dimension,
            Seed = _manifest.Seed,
            Dtype = _manifest.Type(),
            ExamplesPerShard = _manifest.ExamplesPerShard,
        };

    /// <summary>K, how many numbers it holds of each example.</summary>
    public long Width => _manifest.Width();

    /// <summary>The layers, in the order of their columns.</summary>
    internal IReadOnlyList<StoredLayer> Layers => _manifest.Layers;

    /// <summary>In what scores are computed.</summary>
    internal ScalarType Dtype => _manifest.Type() == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;

    /// <summary>Writes the projected gradients of the training loss, or what is missing of them in a folder that the same call
    /// began.</summary>
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
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(projection);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(task, train, null, memory: projection.MemoryBudget);
        using var noGrad = no_grad();
        long[] ids = [.. train.Ids];
        using var reporter = new ProgressReporter(progress, "gradient store", 1, ids.Length, cancellationToken);
        var wanted = StoreManifest.Of(session, ids, projection);
        WorkFolder.CheckFree(folder, BytesOf(wanted) - BytesIn(folder));
        if (projection.Work is { } work)
        {
            return WriteShared(work, wanted, session, train, projection, folder, ids, reporter);
        }

        var (manifest, there) = Begin(folder, wanted, ids, session, train, projection, reporter);
        var store = new GradientStore(folder, manifest, ids);
        if (there[0])
        {
            store.CheckFirst(session, train, 0);
        }

        if (there.Contains(false))
        {
            store.WriteMissing(session, Aligned(train, projection.ExamplesPerShard), projection.MemoryBudget, there, reporter);
        }

        return new GradientStore(folder, manifest, ids);
    }

    /// <summary>Opens a store that is complete. Its shards are checked as they are read.</summary>
    /// <param name="folder">The folder.</param>
    /// <returns>The store.</returns>
    /// <exception cref="InfluenceException">It holds no store, or one that is not complete; a file that is missing or damaged is
    /// named.</exception>
    public static GradientStore Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        var manifest = StoreManifest.Load(folder);
        var missing = Enumerable
            .Range(0, manifest.Shards)
            .Where(s => !File.Exists(StoreShard.PathOf(folder, s)))
            .Select(StoreManifest.ShardName)
            .ToList();
        if (missing.Count > 0)
        {
            throw new InfluenceException(
                $"The gradient store in {folder} is not complete: {InfluenceException.List(missing)} of {manifest.Shards} shards "
                    + "are missing. Call GradientStore.Write again with the arguments that it was begun with: it writes what is missing."
            );
        }

        return new GradientStore(folder, manifest, ReadIds(folder, manifest));
    }

    /// <summary>One line: examples, numbers of each, folder.</summary>
    /// <returns>For example <c>1,000 gradients of 8,192 numbers in store</c>.</returns>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{_ids.Length:N0} gradients of {Width:N0} numbers in {Folder}");

    /// <summary>What became of gradients before they were projected.</summary>
    internal GradientProjection.UpdateDirection Direction => _manifest.DirectionOf();

    /// <summary>That in words, with the step or the fit; empty for the gradient itself.</summary>
    internal string DirectionInWords => _manifest.Direction;

    /// <summary>The number of examples of the fit whose curvature is in the rows; 0 where none is.</summary>
    internal int FitExamples => _manifest.FitExamples;

    /// <summary>Whether columns belong to layers, or each to all.</summary>
    internal bool IsByLayer => Projection.IsByLayer;

    /// <summary>Reads shard by shard: the first row's position, rows <c>[n, K]</c> and exact norms <c>[n]</c> in <see cref="Dtype"/>, which
    /// live until the delegate returns.</summary>
    internal void Read(Action<int, Tensor, Tensor> read, CancellationToken token) =>
        Maps(
            (first, map) =>
            {
                var rows = empty([map.Count, Width], Dtype);
                map.Unpack(0, map.Count, rows);
                read(first, rows, tensor(map.Norms).to_type(Dtype));
            },
            _ => true,
            token
        );

    /// <summary>How many shards there are.</summary>
    internal int Shards => _manifest.Shards;

    /// <summary>The sizes of a row's int8 blocks; none where rows are something else.</summary>
    internal int[] Sizes => _manifest.BlockSizes();

    /// <summary>The projection in words, for metadata.</summary>
    internal string Described =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{_manifest.Form}, {(IsByLayer ? $"at most {_manifest.Dimension} dimensions a side" : $"{Width:N0} numbers in all")}, "
                + $"seed {_manifest.Seed}, stored as "
                + $"{_manifest.Type()}{(_manifest.Direction.Length > 0 ? $"; {_manifest.Direction}" : string.Empty)}."
        );

    /// <summary>The first row of a shard, and how many it has.</summary>
    internal (int First, int Count) RowsOf(int shard) => (shard * _manifest.ExamplesPerShard, _manifest.CountOf(shard));

    /// <summary>The products of queries <c>[Q, K]</c> with the rows of shard after shard: the first row's position, products <c>[Q, n]</c>
    /// and the shard, which live until the delegate returns.</summary>
    internal void Scan(
        Tensor queries,
        Action<int, Tensor, ShardMap> scan,
        Func<(int First, int Count), bool> wanted,
        CancellationToken token
    )
    {
        using var scope = NewDisposeScope();
        var products = new StoreScan(this, queries);
        Maps((first, map) => scan(first, products.Products(map), map), wanted, token);
    }

    /// <summary>The projected gradients of the queries' measurement, <c>[Q, K]</c> in <see cref="Dtype"/>, their exact norms and their
    /// losses; in the current scope.</summary>
    /// <exception cref="InfluenceException">The model's weights or layers are not the store's.</exception>
    internal (Tensor Rows, double[] Norms, double[] Losses, ParameterCoverage Coverage) Project(
        InfluenceTask task,
        Examples queries,
        MemoryBudget budget,
        CancellationToken token
    )
    {
        using var scope = NewDisposeScope();

        // The training loss may not know the queries' tensors.
        var own = task.Measurement is { } measurement ? task with { TrainingLoss = measurement, Measurement = null } : task;
        using var session = GradientSession.Open(own, queries, null, memory: budget);
        using var noGrad = no_grad();
        CheckModel(session);
        var unchanged = new UnchangedWeights(task.Model);
        using var projector = new Projector(session, _manifest, Matrices(), Folder);
        var (rows, norms, losses) = (zeros([queries.Count, Width], Dtype), new double[queries.Count], new double[queries.Count]);
        var at = 0;
        foreach (var batch in SubBatches.Within(session, queries, LossKind.Training, blocks => projector.ExamplesAtOnce(blocks, budget)))
        {
            token.ThrowIfCancellationRequested();
            using var step = NewDisposeScope();
            projector.Project(batch, isQuery: true, rows.narrow(0, at, batch.Count), norms.AsSpan(at), losses.AsSpan(at));
            at += batch.Count;
        }

        unchanged.Check();
        return (rows.MoveToOuterDisposeScope(), norms, losses, session.Coverage);
    }

    /// <summary>Checks that the first of some training examples is the one whose gradient is stored under its id: ids say nothing of data
    /// and loss.</summary>
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
            var found = zeros([1, Width], session.Dtype);
            using var projector = new Projector(session, _manifest, Matrices(), Folder);
            projector.Project(batch.Pick([0]), isQuery: false, found, new double[1], new double[1]);
            var (shard, row) = (position / _manifest.ExamplesPerShard, position % _manifest.ExamplesPerShard);
            using var map = Map(shard);
            var stored = empty([1, Width], Dtype);
            map.Unpack(row, 1, stored);
            var expected = stored.to_type(ScalarType.Float64);
            var error = (found.to_type(ScalarType.Float64) - expected).norm().item<double>();
            if (error > (LargestError * expected.norm().item<double>()) + SmallestError)
            {
                throw new InfluenceException(
                    $"The gradient of the training example with id {batch.Ids[0]} is not the one that the store in {Folder} has "
                        + "under that id: the examples, or their order, or the loss are others than it was written with, or the model "
                        + "draws random numbers (call model.eval()). Use those, or write a new store to another folder."
                )
                {
                    ExampleIds = [batch.Ids[0]],
                };
            }
        }
    }

    /// <summary>Shard after shard, mapped.</summary>
    private void Maps(Action<int, ShardMap> use, Func<(int First, int Count), bool> wanted, CancellationToken token)
    {
        for (var shard = 0; shard < _manifest.Shards; shard++)
        {
            token.ThrowIfCancellationRequested();
            var first = shard * _manifest.ExamplesPerShard;
            if (wanted((first, _manifest.CountOf(shard))))
            {
                using var scope = NewDisposeScope();
                using var map = Map(shard);
                use(first, map);
            }
        }
    }

    /// <summary>A shard, mapped, held against its hash when it is first read, and again when the file is another since.</summary>
    internal ShardMap Map(int shard)
    {
        var file = new FileInfo(StoreShard.PathOf(Folder, shard));
        var state = file.Exists ? (file.Length, file.LastWriteTimeUtc.Ticks) : default;
        if (!_verified.TryGetValue(shard, out var seen) || seen != state)
        {
            StoreShard.Verify(Folder, _manifest, shard);
            _verified[shard] = state;
        }

        return StoreShard.Map(Folder, _manifest, shard);
    }

    /// <summary>The matrices that the data gave, by name, in the current scope; none where all are drawn.</summary>
    private Dictionary<string, Tensor> Matrices()
    {
        if (_manifest.MatricesHash.Length == 0)
        {
            return [];
        }

        var path = Path.Combine(Folder, StoreManifest.MatricesName);
        if (Convert.ToHexStringLower(SharedFile.HashOf(path)) != _manifest.MatricesHash)
        {
            throw new InfluenceException(
                $"{path} is damaged, or of another store: its hash is not the manifest's. Delete the folder and "
                    + "call GradientStore.Write again with the same arguments."
            );
        }

        return Safetensors.Load(path).Tensors;
    }

    private void CheckModel(GradientSession session)
    {
        var found = session.WeightsFingerprint();
        if (found != _manifest.Weights)
        {
            throw new InfluenceException(
                $"The gradient store in {Folder} is of other weights, or of other layers, than the model has (the store's: "
                    + $"{_manifest.Weights}; now: {found}). Load the weights that it was written with and use the same Layers, or write a "
                    + "new store to another folder."
            );
        }

        // The fingerprint has the names; of a projection by layer sizes and parts are compared too.
        if (!IsByLayer)
        {
            return;
        }

        var layers = session.Parts.SelectMany(parts => parts).Select(part => StoredLayer.Of(part, _manifest.Dimension)).ToList();
        if (!layers.ToHashSet().SetEquals(_manifest.Layers))
        {
            throw new InfluenceException(
                $"The gradient store in {Folder} holds the layers {InfluenceException.List([.. _manifest.Layers.Select(l => l.Name)])}; "
                    + $"now the queries have {InfluenceException.List([.. layers.Select(l => l.Name)])}. Use the task that it was written "
                    + "with."
            );
        }
    }

    /// <summary>The manifest to go on with: a new one, or the folder's where it is of the same call and its files are as they were
    /// written.</summary>
    private static (StoreManifest Manifest, bool[] There) Begin(
        string folder,
        StoreManifest wanted,
        long[] ids,
        GradientSession session,
        Examples train,
        GradientProjection projection,
        ProgressReporter reporter
    )
    {
        if (!File.Exists(Path.Combine(folder, StoreManifest.FileName)))
        {
            WriteIds(folder, ids);
            var matrices = new List<(string Name, Tensor Value)>();
            if (wanted.FormOf() == GradientProjection.Kind.Principal)
            {
                reporter.ExpectPasses(2);
                matrices.AddRange(PrincipalDirections.Of(session, train, wanted.Layers, reporter));
            }

            if (wanted.DirectionOf() == GradientProjection.UpdateDirection.Preconditioned)
            {
                matrices.AddRange(StoredCurvature.Write(session, projection, folder, reporter.Token));
            }
            else if (wanted.DirectionOf() != GradientProjection.UpdateDirection.Gradient)
            {
                matrices.AddRange(StoredDirection.Read(session, projection.Moments!));
            }

            if (matrices.Count > 0)
            {
                var path = Path.Combine(folder, StoreManifest.MatricesName);
                Safetensors.Save(path, matrices, new Dictionary<string, string>());
                wanted = wanted with { MatricesHash = Convert.ToHexStringLower(SharedFile.HashOf(path)) };
            }

            wanted.Save(folder);
            return (wanted, new bool[wanted.Shards]);
        }

        var found = StoreManifest.Load(folder);
        var differences = wanted.DifferencesFrom(found);
        if (differences.Count > 0)
        {
            throw new InfluenceException(
                $"{folder} holds another gradient store; it differs in {string.Join("; ", differences)}. Write to another folder, or "
                    + "delete this one."
            );
        }

        if (File.Exists(Path.Combine(folder, StoreManifest.IdsName)))
        {
            ReadIds(folder, found);
        }
        else
        {
            WriteIds(folder, ids);
        }

        var there = new bool[found.Shards];
        for (var shard = 0; shard < there.Length; shard++)
        {
            there[shard] = File.Exists(StoreShard.PathOf(folder, shard));
            if (there[shard])
            {
                StoreShard.Verify(folder, found, shard);
            }
        }

        return (found, there);
    }

    /// <summary>The same examples, in batches that end where shards end: each half that a shard's end would cut is a pass of its
    /// own.</summary>
    private static Examples Aligned(Examples train, int examplesPerShard)
    {
        if (!train.IsIndexable)
        {
            return train;
        }

        var parts = Math.Max(1, (examplesPerShard + train.BatchSize - 1) / train.BatchSize);
        while (examplesPerShard % parts != 0)
        {
            parts++;
        }

        return train with
        {
            BatchSize = examplesPerShard / parts,
        };
    }

    private void WriteMissing(GradientSession session, Examples train, MemoryBudget budget, bool[] there, ProgressReporter reporter)
    {
        using var scope = NewDisposeScope();
        var unchanged = new UnchangedWeights(session.Task.Model);
        using var projector = new Projector(session, _manifest, Matrices(), Folder);
        var (buffer, other) = (new ShardBuffer(_manifest), new ShardBuffer(_manifest));
        using var writer = new BackgroundWriter();
        var at = 0;
        foreach (var batch in SubBatches.Within(session, train, LossKind.Training, blocks => projector.ExamplesAtOnce(blocks, budget)))
        {
            for (var start = 0; start < batch.Count; )
            {
                reporter.Token.ThrowIfCancellationRequested();
                var (shard, first) = (at / _manifest.ExamplesPerShard, at % _manifest.ExamplesPerShard);
                var count = Math.Min(batch.Count - start, _manifest.CountOf(shard) - first);
                if (!there[shard])
                {
                    // Cut where a shard ends, so that its rows do not depend on whether the one before it was there.
                    using var step = NewDisposeScope();
                    var part = count == batch.Count ? batch : batch.Pick([.. Enumerable.Range(start, count)]);
                    projector.Project(
                        part,
                        isQuery: false,
                        buffer.Rows(first, count),
                        buffer.Norms.AsSpan(first),
                        buffer.Losses.AsSpan(first)
                    );
                    if (first + count == _manifest.CountOf(shard))
                    {
                        unchanged.Check();
                        var full = buffer;
                        writer.Start(() =>
                            StoreShard.Write(
                                Folder,
                                _manifest,
                                shard,
                                full.Address,
                                full.Norms[..(first + count)],
                                full.Losses[..(first + count)]
                            )
                        );
                        (buffer, other) = (other, buffer);
                    }
                }

                at += count;
                start += count;
                reporter.Add(count);
            }
        }

        writer.Finish();
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
            : throw new InfluenceException(
                $"{path} is damaged: its hash is not the manifest's. Delete that file and call "
                    + "GradientStore.Write again with the same arguments."
            );
    }
}
