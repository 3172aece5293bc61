using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The batches whose rows and losses were checked, by the bits of the weights, of the examples and of the losses that came out: the same
/// computation again needs no second look. A batch that gives other losses than it gave when it was checked is another one.
/// </summary>
internal sealed class CheckedBatches
{
    private const int Most = 4096;

    private readonly Dictionary<ulong, ulong> _losses = [];

    /// <summary>What a batch is known by, at the model's weights as they are.</summary>
    public static ulong KeyOf(nn.Module model, ExampleBatch batch, LossKind kind, string plan)
    {
        using var scope = NewDisposeScope();
        var hash = (ulong)kind + 1;
        foreach (var tensor in model.named_parameters().Select(p => (Tensor)p.parameter).Concat(model.named_buffers().Select(b => b.buffer)).Concat(batch.Tensors))
        {
            hash = Mix(hash, WeightsHash.Bits(tensor));
        }

        foreach (var id in batch.Ids)
        {
            hash = Mix(hash, (ulong)id);
        }

        foreach (var letter in plan)
        {
            hash = Mix(hash, letter);
        }

        return hash;
    }

    /// <summary>Whether such a batch was checked.</summary>
    public bool Contains(ulong key) => _losses.ContainsKey(key);

    /// <summary>Whether it gave these losses then.</summary>
    public bool GaveThese(ulong key, Tensor losses) => _losses.TryGetValue(key, out var before) && before == WeightsHash.Bits(losses);

    /// <summary>Notes a batch that was checked.</summary>
    public void Add(ulong key, Tensor losses)
    {
        if (_losses.Count >= Most)
        {
            _losses.Clear();
        }

        _losses[key] = WeightsHash.Bits(losses);
    }

    public void Clear() => _losses.Clear();

    private static ulong Mix(ulong hash, ulong next) => System.Numerics.BitOperations.RotateLeft((hash ^ next) * 0x9E3779B97F4A7C15, 29) + 1;
}
