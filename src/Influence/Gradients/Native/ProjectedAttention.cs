using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Attention that the model computes itself from the outputs of two projections, which are hooked. With its part of the queries at zero
/// all of a head's logits are equal, so its attention is uniform over what the model's own mask leaves, whatever the keys.
/// </summary>
internal sealed class ProjectedAttention : WatchedAttention
{
    private readonly string _key;
    private readonly int _keyHeads;
    private readonly bool _causal;
    private readonly List<Action> _unhook = [];
    private readonly Queue<Tensor> _queries = [];
    private readonly Queue<Tensor> _keys = [];
    private (long Query, long Key) _widths;

    /// <summary>Hooks the projections.</summary>
    /// <param name="model">The model.</param>
    /// <param name="query">The query projection: a module's path, or its weight's name.</param>
    /// <param name="key">The key projection.</param>
    /// <param name="keyHeads">The number of key heads.</param>
    /// <param name="causal">Whether a position sees no later ones.</param>
    public ProjectedAttention(nn.Module model, string query, string key, int keyHeads, bool causal)
        : base(query)
    {
        (_key, _keyHeads, _causal) = (key, keyHeads, causal);
        var (queries, keys) = (Find(model, query), Find(model, key));

        // A null result leaves the output as it is; TorchSharp's delegate type does not say so.
        _unhook.Add(queries.register_forward_hook((_, _, output) => SeeQueries(output)!).remove);
        _unhook.Add(keys.register_forward_hook((_, _, output) => SeeKeys(output)!).remove);
    }

    public override int Heads
    {
        get
        {
            var (query, key) = _widths;
            if (query == 0 || key == 0)
            {
                throw new InfluenceException(
                    $"{Name} and {_key} were not both called in a forward pass: are they projections that the "
                        + "model calls by call(...)?"
                );
            }

            return key % _keyHeads == 0 && query % (key / _keyHeads) == 0
                ? (int)(query / (key / _keyHeads))
                : throw new InfluenceException(
                    $"{_key} gives {key} numbers and {Name} {query}: they do not divide into {_keyHeads} key "
                        + "heads, and query heads of the same size. KeyHeads is the number of key heads, not of query heads."
                );
        }
    }

    /// <summary>The module of a projection that is given by its weight's name, or by its own path.</summary>
    public static string PathOf(string name) => name.EndsWith(".weight", StringComparison.Ordinal) ? name[..^".weight".Length] : name;

    public override void Dispose()
    {
        base.Dispose();
        _unhook.ForEach(remove => remove());
        Forget();
    }

    protected override void Changed() => Forget();

    private static nn.Module<Tensor, Tensor> Find(nn.Module model, string name)
    {
        var path = PathOf(name);
        var modules = ModelParameter.Modules(model).Where(m => m.Module is nn.Module<Tensor, Tensor>).ToList();
        return modules.Where(m => m.Path == path).Select(m => m.Module as nn.Module<Tensor, Tensor>).FirstOrDefault()
            ?? throw new InfluenceException(
                $"{name} is no projection of the model, a module from one tensor to one; there are "
                    + $"{InfluenceException.List([.. modules.Where(m => m.Path.Length > 0).Select(m => m.Path)])}."
            );
    }

    private Tensor? SeeQueries(Tensor output)
    {
        _widths.Query = output.shape[^1];
        if (Probes is { } probes)
        {
            using var scope = NewDisposeScope();
            // [B, A, O]
            _queries.Enqueue(
                Batched(output, probes, Name).index_select(1, tensor(probes.Predicting, device: output.device)).DetachFromDisposeScope()
            );
            Compare();
        }

        return Masked.Count == 0 ? null : output.masked_fill(MaskedColumns(output.shape[^1], Heads, output.device), Kept(0));
    }

    private Tensor? SeeKeys(Tensor output)
    {
        _widths.Key = output.shape[^1];
        if (Probes is { } probes)
        {
            using var scope = NewDisposeScope();
            // [B, T, K]
            _keys.Enqueue(Batched(output, probes, _key).clone().DetachFromDisposeScope());
            Compare();
        }

        return null;
    }

    /// <summary>Once a call's queries and keys are there: which key each query head looks at most.</summary>
    private void Compare()
    {
        if (_queries.Count == 0 || _keys.Count == 0)
        {
            return;
        }

        using var scope = NewDisposeScope();
        var (query, key) = (_queries.Dequeue(), _keys.Dequeue());
        scope.Attach(query, key);
        var (batch, positions, length, perKey) = (query.shape[0], query.shape[1], key.shape[1], Heads / _keyHeads);
        var size = key.shape[2] / _keyHeads;

        // Query heads that share a key head follow each other.
        var q = query
            .reshape(batch, positions, _keyHeads, perKey, size)
            .permute(0, 2, 3, 1, 4)
            .reshape(batch * _keyHeads, perKey * positions, size);
        var k = key.reshape(batch, length, _keyHeads, size).permute(0, 2, 3, 1).reshape(batch * _keyHeads, size, length);
        var logits = q.bmm(k).reshape(batch, Heads, positions, length); // [B, H, A, T]
        if (_causal)
        {
            var at = tensor(Probes!.Predicting, device: logits.device).unsqueeze(1); // [A, 1]
            logits = logits.masked_fill(
                arange(Kept(length), ScalarType.Int64, logits.device).unsqueeze(0).gt(at),
                Kept(double.NegativeInfinity)
            );
        }

        Keep(logits);
    }

    private static Tensor Batched(Tensor output, CopyProbes probes, string name) =>
        output.dim() == 3 && output.shape[0] == probes.Count && output.shape[1] == probes.Length ? output.detach()
        : output.dim() == 3 && output.shape[1] == probes.Count && output.shape[0] == probes.Length ? output.detach().transpose(0, 1)
        : throw new InfluenceException(
            $"{name} gives [{string.Join(", ", output.shape)}] for {probes.Count} sequences of {probes.Length} tokens; attention is "
                + "read where it gives [B, T, ...] or [T, B, ...]. Write Retrieval = RetrievalHeads.Kind.MaskedLoss, which needs no "
                + "attention."
        );

    private void Forget()
    {
        foreach (var tensor in _queries.Concat(_keys))
        {
            tensor.Dispose();
        }

        _queries.Clear();
        _keys.Clear();
    }
}
