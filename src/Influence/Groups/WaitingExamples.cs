using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>Examples out of a loader's batches, kept until those that belong together fill a batch. Owns its tensors.</summary>
internal sealed class WaitingExamples : IDisposable
{
    private readonly SortedDictionary<(int Slot, string Shape), List<ExampleBatch>> _parts = [];
    private long _bytes;

    /// <summary>Keeps the examples at these positions of a batch.</summary>
    /// <returns>What they can be batched with.</returns>
    public (int Slot, string Shape) Add(int slot, ExampleBatch batch, int[] positions)
    {
        var picked = batch.PickApart(positions);

        // A tensor that does not run over the examples belongs to its own batch: nothing else can join it.
        var own = batch.Tensors.Any(t => t.dim() == 0 || t.shape[0] != batch.Count);
        var shape = own
            ? $"own {batch.Ids[positions[0]]}"
            : string.Join("; ", picked.Tensors.Select(t => $"{t.dtype} {string.Join(",", t.shape.Skip(1))}"));
        if (!_parts.TryGetValue((slot, shape), out var list))
        {
            _parts.Add((slot, shape), list = []);
        }

        list.Add(picked);
        _bytes += Bytes(picked);
        return (slot, shape);
    }

    /// <summary>A full batch of a part; or, where memory is short, the fullest of any part; or null.</summary>
    public (int Slot, ExampleBatch Batch)? Next((int Slot, string Shape) key, int size, long memoryBudget)
    {
        if (_parts.TryGetValue(key, out var list) && list.Sum(b => b.Count) >= size)
        {
            return Take(key, size);
        }

        return _bytes > memoryBudget ? Take(_parts.MaxBy(part => part.Value.Sum(Bytes)).Key, size) : null;
    }

    /// <summary>What is left, part by part; null when there is nothing.</summary>
    public (int Slot, ExampleBatch Batch)? Any() => _parts.Count == 0 ? null : Take(_parts.First().Key, int.MaxValue);

    public void Dispose()
    {
        foreach (var batch in _parts.Values.SelectMany(list => list))
        {
            batch.Free();
        }

        _parts.Clear();
    }

    /// <summary>Whole pieces until a batch is full; a piece is no larger than a loader's batch.</summary>
    private (int Slot, ExampleBatch Batch) Take((int Slot, string Shape) key, int size)
    {
        var list = _parts[key];
        var (taken, count) = (new List<ExampleBatch>(), 0);
        foreach (var piece in list)
        {
            if (taken.Count > 0 && count + (long)piece.Count > size)
            {
                break;
            }

            taken.Add(piece);
            count += piece.Count;
        }

        list.RemoveRange(0, taken.Count);
        if (list.Count == 0)
        {
            _parts.Remove(key);
        }

        _bytes -= taken.Sum(Bytes);
        return (key.Slot, taken.Count == 1 ? taken[0] : Joined(taken));
    }

    private static ExampleBatch Joined(List<ExampleBatch> pieces)
    {
        using var scope = NewDisposeScope();
        var tensors = new Tensor[pieces[0].Tensors.Count];
        for (var k = 0; k < tensors.Length; k++)
        {
            tensors[k] = cat([.. pieces.Select(piece => piece.Tensors[k])], 0).DetachFromDisposeScope();
        }

        pieces.ForEach(piece => piece.Free());

        return new ExampleBatch([.. pieces[0].Names], tensors, [.. pieces.SelectMany(piece => piece.Ids)]);
    }

    private static long Bytes(ExampleBatch batch) => batch.Tensors.Sum(t => t.numel() * t.element_size());
}
