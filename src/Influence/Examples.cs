using Influence.Display;
using Influence.Numerics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// Training examples or queries: tensors, or a TorchSharp data loader, with an id for each example. It is read once for
/// each checkpoint (and once more for each block of queries when they do not fit the memory budget), always in the same
/// order.
/// </summary>
/// <remarks>
/// The tensors and loaders stay the caller's: nothing here disposes them. A <see cref="DataLoader"/> converts implicitly.
/// </remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed record Examples : IDisplay
{
    private readonly Func<int, IEnumerable<(string[] Names, Tensor[] Tensors, bool Owned)>> _read;
    private readonly Func<long[]> _defaultIds;
    private readonly (string[] Names, Tensor[] Tensors)? _whole;
    private long[]? _ids;

    private Examples(
        Func<int, IEnumerable<(string[] Names, Tensor[] Tensors, bool Owned)>> read,
        Func<long[]> defaultIds,
        (string[], Tensor[])? whole = null
    )
    {
        _read = read;
        _defaultIds = defaultIds;
        _whole = whole;
    }

    /// <summary>
    /// Examples per batch where the examples come as tensors (a loader keeps its own). Memory and speed only: results do
    /// not depend on it.
    /// </summary>
    /// <value>128.</value>
    public int BatchSize
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 128;

    /// <summary>
    /// One id for each example, in the order in which the source gives them. Unless given: the position in the data set
    /// (for a data loader the index that its sampler drew, so ids stay right when the loader shuffles with a seed).
    /// </summary>
    /// <value>0, 1, 2, ...</value>
    public IReadOnlyList<long> Ids
    {
        get => _ids ??= _defaultIds();
        init => _ids = [.. value];
    }

    /// <summary>The number of examples.</summary>
    public int Count => Ids.Count;

    /// <summary>Examples from tensors whose first dimension runs over the examples.</summary>
    /// <param name="tensors">Name and tensor; the loss delegate reads them as <c>b["name"]</c>.</param>
    /// <returns>The examples; the tensors stay the caller's.</returns>
    /// <exception cref="InfluenceException">No tensor, no example, or first dimensions that differ.</exception>
    public static Examples FromTensors(params (string Name, Tensor Tensor)[] tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        var names = tensors.Select(t => t.Name).ToArray();
        var values = tensors.Select(t => t.Tensor).ToArray();
        var count = CheckTensors(names, values);
        return new Examples(size => Slices(names, values, 0, count, size), () => Positions(count), (names, values));
    }

    /// <summary>Examples from tensors whose first dimension runs over the examples.</summary>
    /// <param name="tensors">The tensors; the loss delegate reads them as <c>b[0]</c>, <c>b[1]</c>, ...</param>
    /// <returns>The examples; the tensors stay the caller's.</returns>
    /// <exception cref="InfluenceException">No tensor, no example, or first dimensions that differ.</exception>
    public static Examples FromTensors(params Tensor[] tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        return FromTensors([.. tensors.Select((t, i) => (Name(i), t))]);
    }

    /// <summary>Examples from a data loader whose batches are dictionaries of tensors.</summary>
    /// <param name="loader">The loader; it keeps its batch size. One that shuffles needs a seed.</param>
    /// <returns>The examples; the loader stays the caller's.</returns>
    /// <exception cref="InfluenceException">The loader draws another order at each pass, as with a Mixture.Sampler.</exception>
    public static Examples FromLoader(DataLoader loader)
    {
        ArgumentNullException.ThrowIfNull(loader);
        return new Examples(
            _ => loader.Select(batch => (batch.Keys.ToArray(), batch.Values.ToArray(), !loader.DisposeBatch)),
            () => SamplerIds(loader)
        );
    }

    /// <summary>Examples from a data loader whose batches are lists of tensors.</summary>
    /// <param name="loader">The loader; it keeps its batch size. One that shuffles needs a seed.</param>
    /// <returns>The examples; the loader stays the caller's.</returns>
    /// <exception cref="InfluenceException">The loader draws another order at each pass, as with a Mixture.Sampler.</exception>
    public static Examples FromLoader(IterableDataLoader loader)
    {
        ArgumentNullException.ThrowIfNull(loader);
        return new Examples(
            _ => loader.Select(batch => (batch.Select((_, i) => Name(i)).ToArray(), batch.ToArray(), !loader.DisposeBatch)),
            () => SamplerIds(loader)
        );
    }

    /// <summary>
    /// Examples from batches of your own making, for instance of a loader with a collate function of its own, each padded to its longest.
    /// Their lengths may differ. They are enumerated once for their ids and then at every pass, and each pass is held against the first, by
    /// the sums of its tensors: the same batches in the same order, so without random augmentation.
    /// </summary>
    /// <param name="batches">Tensors by name, <c>[B, ...]</c>. A method with <c>yield return</c> disposes what it makes after each yield: a
    /// batch is read until the next is asked for.</param>
    /// <param name="ids">From a batch to the ids of its examples, <c>b => b["ids"].data&lt;long&gt;().ToArray()</c>; null: counted through,
    /// 0, 1, 2, ...</param>
    /// <returns>The examples; the batches stay the caller's.</returns>
    public static Examples FromBatches(
        IEnumerable<IReadOnlyDictionary<string, Tensor>> batches,
        Func<IReadOnlyDictionary<string, Tensor>, IEnumerable<long>>? ids = null
    ) => From(batches, batch => ([.. batch.Keys], [.. batch.Values]), ids);

    /// <summary>Examples from batches of your own making that are lists or arrays of tensors, which the loss delegate reads as <c>b[0]</c>,
    /// <c>b[1]</c>, ...</summary>
    /// <param name="batches">Tensors, <c>[B, ...]</c>; as for the batches by name.</param>
    /// <param name="ids">From a batch to the ids of its examples; null: counted through, 0, 1, 2, ...</param>
    /// <returns>The examples; the batches stay the caller's.</returns>
    public static Examples FromBatches(
        IEnumerable<IReadOnlyList<Tensor>> batches,
        Func<IReadOnlyList<Tensor>, IEnumerable<long>>? ids = null
    ) => From(batches, batch => ([.. batch.Select((_, i) => Name(i))], [.. batch]), ids);

    /// <summary>
    /// Examples from batches of any form: <c>Examples.FromBatches(loader.Select(b => ExampleBatch.Of(b.Ids, ("x", b.Tokens), ("y",
    /// b.Labels))))</c>.
    /// </summary>
    /// <param name="batches">The batches, with their ids; as for the batches by name.</param>
    /// <returns>The examples; the batches stay the caller's.</returns>
    public static Examples FromBatches(IEnumerable<ExampleBatch> batches) =>
        From(batches, batch => ([.. batch.Names], [.. batch.Names.Select(name => batch[name])]), batch => batch.Ids);

    private static Examples From<T>(IEnumerable<T> batches, Func<T, (string[], Tensor[])> open, Func<T, IEnumerable<long>>? ids)
    {
        ArgumentNullException.ThrowIfNull(batches);
        var source = new BatchSource<T>(batches, open, ids);
        return new Examples(_ => source.Read(), source.Ids);
    }

    /// <summary>
    /// The examples with these ids only, in the source's order. Nothing is copied beforehand: the source is read whole, and
    /// what is not wanted is left out.
    /// </summary>
    /// <param name="ids">Ids of examples.</param>
    /// <returns>The examples; the sources stay the caller's.</returns>
    /// <exception cref="InfluenceException">An id that no example has.</exception>
    public Examples Only(IEnumerable<long> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var wanted = ids.ToHashSet();
        var unknown = wanted.Except(Ids).ToList();
        if (unknown.Count > 0)
        {
            throw new InfluenceException($"No example has the id {InfluenceException.List(unknown)}.");
        }

        long[] kept = [.. Ids.Where(wanted.Contains)];
        return new Examples(size => Picked(this with { BatchSize = size }, wanted), () => kept) { BatchSize = BatchSize };
    }

    /// <summary>The examples at some positions, in full batches where the examples are tensors: a few from all over are one pass then, and
    /// not one for each batch that holds some of them.</summary>
    /// <param name="positions">Ascending.</param>
    internal Examples Packed(int[] positions)
    {
        long[] ids = [.. positions.Select(i => Ids[i])];
        return IsIndexable ? new Examples(size => Packs(this, positions, size), () => ids) { BatchSize = BatchSize } : Only(ids);
    }

    /// <summary>
    /// So many examples from a position on. Of tensors nothing else is touched; a loader is read from its beginning.
    /// </summary>
    internal Examples Range(int first, int count)
    {
        var ids = ((long[])Ids)[first..(first + count)];
        return _whole is { } whole
            ? new Examples(size => Slices(whole.Names, whole.Tensors, first, count, size), () => ids) { BatchSize = BatchSize }
            : new Examples(size => Cut(this with { BatchSize = size }, first, count), () => ids) { BatchSize = BatchSize };
    }

    /// <summary>Examples from a data loader; see <see cref="FromLoader(DataLoader)"/>.</summary>
    /// <param name="loader">The loader.</param>
    public static implicit operator Examples(DataLoader loader) => FromLoader(loader);

    /// <summary>Examples from a data loader; see <see cref="FromLoader(IterableDataLoader)"/>.</summary>
    /// <param name="loader">The loader.</param>
    public static implicit operator Examples(IterableDataLoader loader) => FromLoader(loader);

    /// <summary>One line, for example <c>5,000 examples (x, y), in batches of 128</c>.</summary>
    /// <returns>The line.</returns>
    public override string ToString()
    {
        var from = _whole is { } whole
            ? $"({string.Join(", ", whole.Names)}), in batches of {BatchSize}"
            : "in the batches of their source";
        return string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{Count:N0} examples ") + from;
    }

    /// <summary>Gives their number and tensors as an HTML table, for notebooks and other front ends; none is read.</summary>
    /// <returns>The fragment.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            ToString(),
            ["tensor", "type", "shape"],
            _whole is not { } whole
                ? []
                :
                [
                    .. whole
                        .Names.Zip(whole.Tensors)
                        .Select(pair =>
                            (IReadOnlyList<object>)
                                [
                                    pair.First,
                                    pair.Second.IsInvalid ? "disposed" : pair.Second.dtype.ToString(),
                                    pair.Second.IsInvalid ? string.Empty : $"[{string.Join(", ", pair.Second.shape)}]",
                                ]
                        ),
                ]
        );

    /// <summary>Reads the source once, batch by batch, in order: for estimators and scorers of your own.</summary>
    /// <returns>Batches of <see cref="BatchSize"/> examples, or of the loader's. A batch's tensors are borrowed, and valid until the next
    /// one is asked for.</returns>
    /// <exception cref="InfluenceException">While it is read: the source gives another number of examples than there are ids, or other data
    /// than before.</exception>
    public IEnumerable<ExampleBatch> Batches()
    {
        var ids = (long[])Ids;
        var start = 0;
        foreach (var (names, tensors, owned) in _read(BatchSize))
        {
            try
            {
                var count = names.Length == 0 || tensors[0].dim() == 0 ? 0 : (int)tensors[0].shape[0];
                if (start + count > ids.Length)
                {
                    throw new InfluenceException(
                        $"There are {ids.Length} ids, but the source gives more examples than that. Give one id for each example."
                    );
                }

                yield return new ExampleBatch(names, tensors, ids[start..(start + count)]);
                start += count;
            }
            finally
            {
                if (owned)
                {
                    foreach (var tensor in tensors)
                    {
                        tensor.Dispose();
                    }
                }
            }
        }

        if (start != ids.Length)
        {
            throw new InfluenceException(
                $"There are {ids.Length} ids, but the source gave only {start} examples. Give one id for each example."
            );
        }
    }

    /// <summary>
    /// Batches without end, for stochastic solvers: passes over the examples, each in an order of its own that follows from
    /// the seed, less what does not fill a batch at its end. A loader gives its own batches in its own order. A batch's tensors are valid
    /// until the next is asked for.
    /// </summary>
    /// <param name="seed">Of the orders.</param>
    /// <param name="size">Examples per batch; at least all of them gives all in order.</param>
    internal IEnumerable<ExampleBatch> EndlessBatches(long seed, int size)
    {
        for (var pass = 0L; ; pass++)
        {
            if (_whole is null || size >= Count)
            {
                foreach (var batch in _whole is null ? Batches() : (this with { BatchSize = Count }).Batches())
                {
                    yield return batch;
                }

                continue;
            }

            var key = KeyedRandom.Mix((ulong)seed) ^ (ulong)pass;
            var order = Enumerable.Range(0, Count).OrderBy(i => KeyedRandom.Mix(KeyedRandom.Mix(key) ^ (ulong)i)).ToArray();
            for (var start = 0; start + size <= order.Length; start += size)
            {
                var (tensors, ids) = Gather(_whole.Value.Tensors, (long[])Ids, order.AsSpan(start, size));
                try
                {
                    yield return new ExampleBatch(_whole.Value.Names, tensors, ids);
                }
                finally
                {
                    foreach (var tensor in tensors)
                    {
                        tensor.Dispose();
                    }
                }
            }
        }
    }

    /// <summary>The names of tensors that are no more.</summary>
    private List<string> Disposed =>
        _whole is { } whole ? [.. whole.Names.Zip(whole.Tensors).Where(t => t.Second.IsInvalid).Select(t => t.First)] : [];

    /// <summary>Whether examples can be put together from any positions: they are tensors.</summary>
    internal bool IsIndexable => _whole is not null;

    /// <summary>The examples at these positions, ascending, as one batch; only where <see cref="IsIndexable"/>. The caller disposes its
    /// tensors.</summary>
    internal ExampleBatch Gather(ReadOnlySpan<int> positions)
    {
        var (names, tensors) = _whole!.Value;
        var ids = (long[])Ids;
        if (positions[^1] - positions[0] == positions.Length - 1)
        {
            var (first, count) = (positions[0], positions.Length);
            return new ExampleBatch(
                names,
                [.. tensors.Select(t => t.narrow(0, first, count).DetachFromDisposeScope())],
                ids[first..(first + count)]
            );
        }

        var (gathered, chosen) = Gather(tensors, ids, positions);
        return new ExampleBatch(names, gathered, chosen);
    }

    /// <summary>
    /// The same as one batch that is disposed when the next is asked for; what a backward pass needs of it, its graph holds.
    /// </summary>
    internal IEnumerable<ExampleBatch> Gathered(int[] positions)
    {
        var batch = Gather(positions);
        try
        {
            yield return batch;
        }
        finally
        {
            batch.Free();
        }
    }

    /// <summary>What is wrong with these examples as a whole, for one report with everything else.</summary>
    internal IEnumerable<string> Problems(string role)
    {
        IReadOnlyList<long> ids;
        string? problem = null;
        try
        {
            ids = Ids;
            var count = _defaultIds().Length;
            if (Disposed is { Count: > 0 } disposed)
            {
                problem =
                    $"tensors that were disposed: {InfluenceException.List(disposed)}. They stay yours: keep them as long as the examples.";
            }
            else if (ids.Count != count)
            {
                problem = $"there are {ids.Count} ids for {count} examples. Give one id for each example.";
            }
        }
        catch (InfluenceException exception)
        {
            ids = [];
            problem = exception.Message;
        }

        if (problem is not null)
        {
            yield return $"The {role}: {problem}";
            yield break;
        }

        if (ids.Count == 0)
        {
            yield return $"The {role} are empty: at least one example is needed.";
        }

        var seen = new HashSet<long>();
        var repeated = ids.Where(id => !seen.Add(id)).Distinct().ToList();
        if (repeated.Count > 0)
        {
            yield return $"The {role} have ids that repeat: {InfluenceException.List(repeated)}. Each example needs an id of its own.";
        }
    }

    private static string Name(int position) => position.ToString(System.Globalization.CultureInfo.InvariantCulture);

    private static long[] Positions(long count)
    {
        var ids = new long[count];
        for (var i = 0; i < ids.Length; i++)
        {
            ids[i] = i;
        }

        return ids;
    }

    private static long CheckTensors(string[] names, Tensor[] tensors)
    {
        if (tensors.Length == 0)
        {
            throw new InfluenceException("Examples need at least one tensor: Examples.FromTensors((\"x\", x), (\"y\", y)).");
        }

        if (names.Distinct().Count() != names.Length)
        {
            throw new InfluenceException($"Tensor names must differ; found {string.Join(", ", names)}.");
        }

        var scalars = names.Where((_, i) => tensors[i].dim() == 0).ToList();
        if (scalars.Count > 0)
        {
            throw new InfluenceException(
                $"The first dimension runs over the examples, but {string.Join(", ", scalars)} has no dimension. Write unsqueeze(0) for a "
                    + "single example."
            );
        }

        if (tensors.Select(t => t.shape[0]).Distinct().Count() != 1)
        {
            var found = string.Join(", ", names.Zip(tensors, (n, t) => $"\"{n}\" {t.shape[0]}"));
            throw new InfluenceException($"All tensors need the same number of examples in their first dimension; found {found}.");
        }

        return tensors[0].shape[0];
    }

    private static IEnumerable<(string[] Names, Tensor[] Tensors, bool Owned)> Slices(
        string[] names,
        Tensor[] tensors,
        long first,
        long count,
        int batchSize
    )
    {
        for (long start = 0; start < count; start += batchSize)
        {
            var length = Math.Min(batchSize, count - start);
            yield return (names, [.. tensors.Select(t => t.narrow(0, first + start, length).DetachFromDisposeScope())], true);
        }
    }

    private static IEnumerable<(string[] Names, Tensor[] Tensors, bool Owned)> Cut(Examples source, int first, int count)
    {
        var start = 0;
        foreach (var batch in source.Batches())
        {
            int[] positions = [.. Enumerable.Range(0, batch.Count).Where(i => start + i >= first && start + i < first + count)];
            if (positions.Length > 0)
            {
                yield return ([.. batch.Names], batch.PickDetached(positions), true);
            }

            start += batch.Count;
            if (start >= first + count)
            {
                yield break;
            }
        }
    }

    private static IEnumerable<(string[] Names, Tensor[] Tensors, bool Owned)> Picked(Examples source, HashSet<long> wanted)
    {
        foreach (var batch in source.Batches())
        {
            int[] positions = [.. Enumerable.Range(0, batch.Count).Where(i => wanted.Contains(batch.Ids[i]))];
            if (positions.Length > 0)
            {
                yield return ([.. batch.Names], batch.PickDetached(positions), true);
            }
        }
    }

    private static IEnumerable<(string[] Names, Tensor[] Tensors, bool Owned)> Packs(Examples source, int[] positions, int size)
    {
        foreach (var chunk in positions.Chunk(size))
        {
            var batch = source.Gather(chunk);
            yield return ([.. batch.Names], [.. batch.Tensors], true);
        }
    }

    private static (Tensor[] Tensors, long[] Ids) Gather(Tensor[] tensors, long[] ids, ReadOnlySpan<int> positions)
    {
        using var scope = NewDisposeScope();
        var (index, chosen) = (new long[positions.Length], new long[positions.Length]);
        for (var i = 0; i < positions.Length; i++)
        {
            (index[i], chosen[i]) = (positions[i], ids[positions[i]]);
        }

        return ([.. tensors.Select(t => t.index_select(0, tensor(index, device: t.device)).DetachFromDisposeScope())], chosen);
    }

    /// <summary>The data set's indices in the order that the loader's sampler draws them, at every pass alike.</summary>
    private static long[] SamplerIds<T>(DataLoader<T, T> loader)
    {
        if (loader.sampler is IRunningStream stream)
        {
            throw new InfluenceException(
                $"The data loader draws from a {stream.Description}, which gives other examples at each pass, and those read here "
                    + "would be lost to training. Score the data set through a loader of its own, with shuffle: false."
            );
        }

        var order = loader.sampler.ToArray();
        if (!order.AsSpan().SequenceEqual(loader.sampler.ToArray()))
        {
            throw new InfluenceException(
                "The data loader draws another order at each pass, so scores could not be told apart by id. "
                    + "Write shuffle: false, or give it a seed."
            );
        }

        return loader.drop_last ? order[..(order.Length / loader.batch_size * loader.batch_size)] : order;
    }
}
