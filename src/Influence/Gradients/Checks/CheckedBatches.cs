using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The batches whose rows and losses were checked, by the bits of the weights, of the examples and of what came out, the losses and
/// numbers of what each layer gave, in order: the same computation again needs no second look. A batch that gives another of these than it
/// gave when it was checked, as where rows now go in another order, is another one.
/// </summary>
internal sealed class CheckedBatches
{
    private const int Most = 4096;

    private readonly Dictionary<ulong, ulong> _signatures = [];

    /// <summary>What a model's weights and buffers are known by.</summary>
    public static ulong WeightsOf(nn.Module model)
    {
        using var scope = NewDisposeScope();
        return model
            .named_parameters()
            .Select(p => (Tensor)p.parameter)
            .Concat(model.named_buffers().Select(b => b.buffer))
            .Aggregate(1UL, (hash, tensor) => KeyedRandom.Mix(hash ^ WeightsHash.Bits(tensor)));
    }

    /// <summary>What a batch is known by.</summary>
    /// <param name="weights">What the weights are known by. A session takes them once: where they change while it is open, the losses show
    /// it.</param>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    public static ulong KeyOf(ulong weights, ExampleBatch batch, LossKind kind)
    {
        var hash = KeyedRandom.Mix(weights ^ (ulong)kind);
        foreach (var tensor in batch.Tensors)
        {
            hash = KeyedRandom.Mix(hash ^ WeightsHash.Bits(tensor));
        }

        foreach (var id in batch.Ids)
        {
            hash = KeyedRandom.Mix(hash ^ (ulong)id);
        }

        return hash;
    }

    /// <summary>Whether such a batch was checked.</summary>
    public bool Contains(ulong key) => _signatures.ContainsKey(key);

    /// <summary>Whether it gave the same then.</summary>
    public bool GaveThese(ulong key, CaptureTrace trace) => _signatures.TryGetValue(key, out var before) && before == trace.Signature();

    /// <summary>Notes a batch that was checked.</summary>
    public void Add(ulong key, CaptureTrace trace)
    {
        if (_signatures.Count >= Most)
        {
            _signatures.Clear();
        }

        _signatures[key] = trace.Signature();
    }

    public void Clear() => _signatures.Clear();
}
