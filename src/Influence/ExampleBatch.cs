using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>
/// One batch of examples: tensors whose first dimension runs over the examples, by name or by position, and the
/// examples' ids. It serves both batch shapes of TorchSharp: a dictionary of tensors and a list of tensors.
/// </summary>
/// <remarks>The tensors belong to whoever made the batch; a loss delegate reads them and does not dispose them.</remarks>
public sealed class ExampleBatch
{
    private readonly string[] _names;
    private readonly Tensor[] _tensors;
    private readonly long[] _ids;
    private readonly IReadOnlyList<string> _shared;

    internal ExampleBatch(string[] names, Tensor[] tensors, long[] ids, IReadOnlyList<string>? shared = null)
    {
        _names = names;
        _tensors = tensors;
        _ids = ids;
        _shared = shared ?? [];
    }

    /// <summary>A batch of a training loop of your own.</summary>
    /// <param name="ids">The examples' ids. In a training batch an id may be there twice.</param>
    /// <param name="tensors">Name and tensor, <c>[B, ...]</c>.</param>
    /// <returns>The batch; the tensors stay the caller's, and must live as long as it is used.</returns>
    /// <exception cref="InfluenceException">No id, no tensor, repeated names, or a tensor with another number of rows than there are
    /// ids.</exception>
    public static ExampleBatch Of(IReadOnlyList<long> ids, params (string Name, torch.Tensor Tensor)[] tensors) => Of(ids, [], tensors);

    /// <summary>A batch of a training loop of your own, with tensors that do not run over the examples.</summary>
    /// <param name="ids">The examples' ids. In a training batch an id may be there twice.</param>
    /// <param name="shared">
    /// The names of the tensors that all examples share, such as an attention mask <c>[T, T]</c>; they go along whole. They are named, as
    /// their size does not tell them from others where T = B.
    /// </param>
    /// <param name="tensors">Name and tensor; <c>[B, ...]</c> unless it is shared.</param>
    /// <returns>The batch; the tensors stay the caller's, and must live as long as it is used.</returns>
    /// <exception cref="InfluenceException">
    /// No id, no tensor that runs over the examples, repeated names, a shared name without a tensor, or a tensor that is not shared and has
    /// another number of rows than there are ids.
    /// </exception>
    public static ExampleBatch Of(
        IReadOnlyList<long> ids,
        IReadOnlyList<string> shared,
        params (string Name, torch.Tensor Tensor)[] tensors
    )
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(shared);
        ArgumentNullException.ThrowIfNull(tensors);
        string[] names = [.. tensors.Select(t => t.Name)];
        var own = tensors.Where(t => !shared.Contains(t.Name)).ToList();
        if (
            ids.Count == 0
            || names.Distinct().Count() != names.Length
            || own.Count == 0
            || own.Any(t => t.Tensor.dim() == 0 || t.Tensor.shape[0] != ids.Count)
            || shared.Except(names).Any()
        )
        {
            throw new InfluenceException(
                "A batch has at least one id, tensors of different names, and one row for each id: ExampleBatch.Of(ids, (\"x\", "
                    + "x), (\"y\", y)). Tensors that all examples share are named: ExampleBatch.Of(ids, [\"mask\"], (\"x\", x), "
                    + $"(\"mask\", mask)). Found {ids.Count} ids and "
                    + $"{InfluenceException.List([.. tensors.Select(t => $"\"{t.Name}\" [{string.Join(", ", t.Tensor.shape)}]")])}"
                    + (shared.Count == 0 ? "." : $"; shared: {InfluenceException.List([.. shared])}.")
            );
        }

        return new ExampleBatch(names, [.. tensors.Select(t => t.Tensor)], [.. ids], [.. shared]);
    }

    /// <summary>A batch of a training loop of your own, as a data loader gives it.</summary>
    /// <param name="batch">Tensors by name, <c>[B, ...]</c>.</param>
    /// <param name="ids">The name of the tensor that holds the examples' ids, of an integer type, <c>[B]</c>.</param>
    /// <param name="shared">The names of the tensors that do not run over the examples.</param>
    /// <returns>The batch, with the other tensors; they stay the caller's, and must live as long as it is used.</returns>
    /// <exception cref="InfluenceException">There is no such tensor of ids, or as the other <c>Of</c>.</exception>
    public static ExampleBatch Of(IReadOnlyDictionary<string, torch.Tensor> batch, string ids, params IReadOnlyList<string> shared)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(ids);
        if (!batch.TryGetValue(ids, out var values) || values.dim() != 1 || values.is_floating_point())
        {
            var held = batch.Select(t => $"\"{t.Key}\" {t.Value.dtype} [{string.Join(", ", t.Value.shape)}]");
            throw new InfluenceException(
                $"The batch holds no tensor \"{ids}\" of whole numbers [B]; it holds {InfluenceException.List([.. held])}. "
                    + "Let the data set give each example its index, for instance [\"id\"] = torch.tensor(index)."
            );
        }

        using var scope = NewDisposeScope();
        long[] list = [.. values.cpu().to_type(ScalarType.Int64).data<long>()];
        return Of(list, shared, [.. batch.Where(t => t.Key != ids).Select(t => (t.Key, t.Value))]);
    }

    /// <summary>The number of examples in the batch, B.</summary>
    public int Count => _ids.Length;

    /// <summary>The examples' ids, in the order of the tensors' first dimension.</summary>
    public IReadOnlyList<long> Ids => _ids;

    /// <summary>The tensors' names; <c>"0"</c>, <c>"1"</c>, ... where the source gives a list.</summary>
    public IReadOnlyList<string> Names => _names;

    /// <summary>The tensor of that name, <c>[B, ...]</c>.</summary>
    /// <param name="name">The name that the data set gave it.</param>
    /// <exception cref="InfluenceException">There is none of that name.</exception>
    public Tensor this[string name]
    {
        get
        {
            var index = Array.IndexOf(_names, name);
            return index >= 0
                ? _tensors[index]
                : throw new InfluenceException(
                    $"The batch has no tensor named \"{name}\"; it has {string.Join(", ", _names.Select(n => $"\"{n}\""))}."
                );
        }
    }

    /// <summary>The tensor at that position, <c>[B, ...]</c>.</summary>
    /// <param name="index">The position, from 0.</param>
    /// <exception cref="InfluenceException">There is none at that position.</exception>
    public Tensor this[int index] =>
        index >= 0 && index < _tensors.Length
            ? _tensors[index]
            : throw new InfluenceException($"The batch has {_tensors.Length} tensors; there is none at position {index}.");

    internal IReadOnlyList<Tensor> Tensors => _tensors;

    /// <summary>The names of the tensors that do not run over the examples, where they were named.</summary>
    internal IReadOnlyList<string> Shared => _shared;

    /// <summary>The same batch with another tensor under a name that it has; the tensors stay their owners'.</summary>
    internal ExampleBatch With(string name, Tensor tensor) =>
        new(_names, [.. _names.Zip(_tensors, (own, kept) => own == name ? tensor : kept)], _ids, _shared);

    /// <summary>A batch of the examples at these positions; its tensors live in the current dispose scope.</summary>
    internal ExampleBatch Pick(IReadOnlyList<int> positions)
    {
        var consecutive = Enumerable.Range(0, positions.Count).All(i => positions[i] == positions[0] + i);
        var picked = new Tensor[_tensors.Length];
        for (var k = 0; k < _tensors.Length; k++)
        {
            var tensor = _tensors[k];

            // A tensor that does not run over the examples goes along whole: one that was named, or of a loader's batch, which names none.
            if (tensor.dim() == 0 || tensor.shape[0] != Count || _shared.Contains(_names[k]))
            {
                picked[k] = tensor.alias();
            }
            else if (consecutive)
            {
                picked[k] = tensor.narrow(0, positions[0], positions.Count);
            }
            else
            {
                var index = torch.tensor(positions.Select(p => (long)p).ToArray(), device: tensor.device);
                picked[k] = tensor.index_select(0, index);
            }
        }

        return new ExampleBatch(_names, picked, [.. positions.Select(p => _ids[p])], _shared);
    }

    /// <summary>Whether two examples of the batch hold the same numbers.</summary>
    internal bool AreEqual(int first, int second)
    {
        using var scope = NewDisposeScope();
        return Pick([first])._tensors.Zip(Pick([second])._tensors).All(pair => pair.First.eq(pair.Second).all().item<bool>());
    }

    /// <summary>
    /// This batch with another behind it, in the current scope; null where their tensors do not fit one behind the other.
    /// </summary>
    internal ExampleBatch? Join(ExampleBatch other)
    {
        var fits = _names.SequenceEqual(other._names) && _shared.Count == other._shared.Count && !_shared.Except(other._shared).Any();
        for (var k = 0; fits && k < _tensors.Length; k++)
        {
            fits = IsShared(k) ? _tensors[k].Handle == other._tensors[k].Handle : Follows(_tensors[k], other._tensors[k]);
        }

        return fits
            ? new ExampleBatch(
                _names,
                [.. _tensors.Select((own, k) => IsShared(k) ? own.alias() : cat([own, other._tensors[k]], 0))],
                [.. _ids, .. other._ids],
                _shared
            )
            : null;

        bool IsShared(int k) => _shared.Contains(_names[k]);

        bool Follows(Tensor first, Tensor second) =>
            first.dim() > 0
            && first.dim() == second.dim()
            && first.shape[0] == Count
            && second.shape[0] == other.Count
            && first.dtype == second.dtype
            && first.shape.AsSpan(1).SequenceEqual(second.shape.AsSpan(1));
    }

    /// <summary>
    /// The tensors of the examples at these positions, in no dispose scope: the caller disposes them. For iterators, which may
    /// not keep a scope open over their caller's.
    /// </summary>
    internal Tensor[] PickDetached(IReadOnlyList<int> positions)
    {
        using var scope = NewDisposeScope();
        var picked = Pick(positions)._tensors;
        foreach (var tensor in picked)
        {
            scope.Detach(tensor);
        }

        return picked;
    }

    /// <summary>The examples at these positions as a batch of its own, in no dispose scope: the caller frees it by
    /// <see cref="Free"/>.</summary>
    internal ExampleBatch PickApart(IReadOnlyList<int> positions) =>
        new([.. _names], PickDetached(positions), [.. positions.Select(p => Ids[p])], Shared);

    /// <summary>Frees the tensors, of a batch that owns them.</summary>
    internal void Free()
    {
        foreach (var tensor in _tensors)
        {
            tensor.Dispose();
        }
    }

    /// <summary>One line for error messages: names, dtypes, shapes and devices.</summary>
    internal string Describe() =>
        string.Join(
            ", ",
            _names.Zip(_tensors, (name, tensor) => $"\"{name}\" {tensor.dtype} [{string.Join(", ", tensor.shape)}] on {tensor.device}")
        );
}
