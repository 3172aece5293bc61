using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Gradients;

/// <summary>
/// Multi-head attention written out on a native module's parameters, sequence first: softmax(Q K' / sqrt(d)) V in each
/// head, with taps on the projections of queries, keys, values and output. Every step has a second derivative, and no
/// example's gradient depends on the rest of the batch.
/// </summary>
internal sealed class NativeAttention
{
    private readonly NativeParameters _parameters;
    private readonly string _prefix;
    private readonly TrackedLayer?[] _inputs = new TrackedLayer?[3];
    private readonly TrackedLayer? _output;

    /// <summary>Makes the layers of an attention module.</summary>
    /// <param name="parameters">Where its parameters are.</param>
    /// <param name="prefix">What comes before their names: empty, or <c>self_attn.</c>.</param>
    public NativeAttention(NativeParameters parameters, string prefix)
    {
        (_parameters, _prefix) = (parameters, prefix);
        var packed = parameters.Find(prefix + "in_proj_weight") is not null;
        foreach (var rows in Enum.GetValues<PackedRows>())
        {
            _inputs[(int)rows] = parameters.Track(
                $"{prefix}in_proj[{rows}]",
                LinearRule.Instance,
                packed ? $"{prefix}in_proj_weight" : $"{prefix}{rows}_proj_weight",
                $"{prefix}in_proj_bias",
                rows
            );
        }

        _output = parameters.Track($"{prefix}out_proj", LinearRule.Instance, $"{prefix}out_proj.weight", $"{prefix}out_proj.bias");
    }

    /// <summary>The width E of queries and of the output.</summary>
    public long Width => Find("out_proj.weight")!.shape[0];

    /// <summary>Masks and reads heads where the module's output is replaced; null where nobody does.</summary>
    public RecomputedAttention? Watcher { get; set; }

    /// <summary>Why the module cannot be recomputed; null where it can.</summary>
    public string? Problem => Find("bias_k") is null ? null : "native attention with biases added to keys and values is not recomputed";

    /// <summary>The output <c>[T, B, E]</c>, and the weights <c>[B, T, S]</c> averaged over the heads.</summary>
    /// <param name="settings">The settings.</param>
    /// <param name="inputs">Queries, keys, values and masks.</param>
    /// <param name="observe">Whether the layers note what they see.</param>
    /// <param name="watch">Whether the watcher masks and sees.</param>
    public (Tensor Output, Tensor Weights) Forward(NativeSettings settings, NativeInputs inputs, bool observe, bool watch)
    {
        using var scope = NewDisposeScope();
        var (query, key, value, keyPadding, mask) = inputs;
        var (length, batch, heads) = (query.shape[0], query.shape[1], settings.Heads);
        var size = query.shape[2] / heads;
        var q = ByHead(Project(PackedRows.q, query, observe) * Kept(1 / Math.Sqrt(size))); // [B*H, T, d]
        if (watch && Watcher is not null)
        {
            q = Watcher.Queries(q, heads);
        }

        var k = ByHead(Project(PackedRows.k, key, observe)); // [B*H, S, d]
        var v = ByHead(Project(PackedRows.v, value, observe)); // [B*H, S, d]
        if (settings.ZeroAttention)
        {
            var zero = zeros_like(k.narrow(1, 0, 1)); // [B*H, 1, d]
            (k, v) = (cat([k, zero], 1), cat([v, zero], 1)); // [B*H, S+1, d]
            (mask, keyPadding) = (Extend(mask), Extend(keyPadding)); // [T, S+1], [B, S+1]
        }

        var logits = q.bmm(k.transpose(1, 2)).reshape(batch, heads, length, -1); // [B, H, T, S]
        if (mask is not null)
        {
            // As the native side does: a mask of booleans is not read as one, true adds one.
            logits = logits + mask.to_type(logits.dtype);
        }

        if (keyPadding is not null)
        {
            logits = logits.masked_fill(keyPadding.to_type(ScalarType.Bool).unsqueeze(1).unsqueeze(2), Kept(double.NegativeInfinity));
        }

        var weights = F.softmax(logits, -1); // [B, H, T, S]
        if (watch)
        {
            Watcher?.See(weights);
        }

        var mixed = weights
            .reshape(batch * heads, length, -1)
            .bmm(v) // [B*H, T, d]
            .transpose(0, 1)
            .reshape(length, batch, -1); // [T, B, E]
        var output = F.linear(mixed, Find("out_proj.weight")!, Find("out_proj.bias")); // [T, B, E]
        output = (observe ? _output?.Observe(mixed, output) : null) ?? output;
        return (output.MoveToOuterDisposeScope(), weights.mean([1]).MoveToOuterDisposeScope());

        Tensor ByHead(Tensor tensor) => tensor.reshape(-1, batch * heads, size).transpose(0, 1);
    }

    private static Tensor? Extend(Tensor? mask) => mask is null ? null : cat([mask, zeros([mask.shape[0], 1], mask.dtype, mask.device)], 1);

    /// <summary>The projection of queries, keys or values, <c>[T, B, E]</c>.</summary>
    private Tensor Project(PackedRows rows, Tensor input, bool observe)
    {
        var (width, first) = (Width, (long)rows * Width);
        var weight = Find("in_proj_weight")?.narrow(0, first, width) ?? Find($"{rows}_proj_weight")!;
        var output = F.linear(input, weight, Find("in_proj_bias")?.narrow(0, first, width));
        return (observe ? _inputs[(int)rows]?.Observe(input, output) : null) ?? output;
    }

    private TorchSharp.Modules.Parameter? Find(string name) => _parameters.Find(_prefix + name);
}
