using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace TorchSharp.Modules;

/// <summary>
/// What libtorch's multi-head attention does, sequence first: softmax(Q K' / sqrt(d)) V in each head, on parameters that
/// a module holds under native names.
/// </summary>
/// <param name="owner">The module that holds the parameters.</param>
/// <param name="prefix">What comes before their names: empty, or <c>"self_attn."</c>.</param>
/// <param name="width">The width E of queries and of the output.</param>
/// <param name="heads">H; each head sees E/H numbers.</param>
/// <param name="dropout">The probability to drop an attention weight in training.</param>
/// <param name="zeroAttention">Whether a key and a value of zeros are added.</param>
internal sealed class AttentionCore(nn.Module owner, string prefix, long width, long heads, double dropout, bool zeroAttention)
{
    /// <summary>New parameters under their names, in libtorch's order and with its initial values.</summary>
    public static IEnumerable<(string Name, Tensor Value)> Create(long width, long heads, bool bias, bool biasKv, long kdim, long vdim)
    {
        if (heads <= 0 || width % heads != 0)
        {
            throw new ArgumentException($"The width {width} is not divisible by {heads} heads.");
        }

        // The native side makes float32, whatever the managed default dtype is.
        if (kdim == width && vdim == width)
        {
            yield return ("in_proj_weight", nn.init.xavier_uniform_(Empty(3 * width, width)));
        }
        else
        {
            yield return ("q_proj_weight", nn.init.xavier_uniform_(Empty(width, width)));
            yield return ("k_proj_weight", nn.init.xavier_uniform_(Empty(width, kdim)));
            yield return ("v_proj_weight", nn.init.xavier_uniform_(Empty(width, vdim)));
        }

        if (bias)
        {
            yield return ("in_proj_bias", Empty(3 * width).zero_());
        }

        if (biasKv)
        {
            yield return ("bias_k", nn.init.xavier_normal_(Empty(1, 1, width)));
            yield return ("bias_v", nn.init.xavier_normal_(Empty(1, 1, width)));
        }

        yield return ("out_proj.weight", LinearWeight(width, width));
        if (bias)
        {
            yield return ("out_proj.bias", Empty(width).zero_());
        }
    }

    public static Tensor Empty(params long[] shape) => empty(shape, ScalarType.Float32);

    /// <summary>A Linear's initial weight.</summary>
    public static Tensor LinearWeight(long outputs, long inputs) => nn.init.kaiming_uniform_(Empty(outputs, inputs), Math.Sqrt(5));

    /// <summary>The output <c>[T, B, E]</c>, and the weights <c>[B, T, S]</c> averaged over the heads where they are asked for.</summary>
    public (Tensor Output, Tensor? Weights) Forward(
        Tensor query, Tensor key, Tensor value, Tensor? keyPaddingMask, bool needWeights, Tensor? attentionMask)
    {
        if (query.dim() != 3 || query.shape[2] != width)
        {
            throw new ArgumentException($"The query is [T, B, {width}], not [{string.Join(", ", query.shape)}].");
        }

        if (!key.shape.AsSpan().SequenceEqual(value.shape))
        {
            throw new ArgumentException($"Key and value have one shape; found [{string.Join(", ", key.shape)}] and [{string.Join(", ", value.shape)}].");
        }

        using var scope = NewDisposeScope();
        var (length, batch, size) = (query.shape[0], query.shape[1], width / heads);
        var q = Project("q", 0, query).mul(1 / Math.Sqrt(size));                            // [T, B, E]
        var k = Project("k", 1, key);                                                       // [S, B, E]
        var v = Project("v", 2, value);                                                     // [S, B, E]
        var added = 0L;
        if (Find("bias_k") is { } biasK && Find("bias_v") is { } biasV)
        {
            k = cat([k, biasK.expand(1, batch, width)], 0);                                 // [S+1, B, E]
            v = cat([v, biasV.expand(1, batch, width)], 0);                                 // [S+1, B, E]
            added++;
        }

        (q, k, v) = (ByHead(q), ByHead(k), ByHead(v));                                      // [B*H, T or S, d]
        if (zeroAttention)
        {
            var zero = zeros_like(k.narrow(1, 0, 1));                                       // [B*H, 1, d]
            (k, v) = (cat([k, zero], 1), cat([v, zero], 1));                                // [B*H, S+1, d]
            added++;
        }

        var logits = q.bmm(k.transpose(1, 2));                                              // [B*H, T, S]
        if (attentionMask is not null)
        {
            // In place, as there: a mask of the heads' own is refused, and true counts as one.
            logits = logits.add_(Extend(attentionMask, added).unsqueeze(0));
        }

        if (keyPaddingMask is not null)
        {
            var padding = Extend(keyPaddingMask, added).unsqueeze(1).unsqueeze(2);          // [B, 1, 1, S]
            logits = logits.view(batch, heads, length, -1).masked_fill(padding, double.NegativeInfinity).view(batch * heads, length, -1);
        }

        var weights = F.dropout(F.softmax(logits, -1), dropout, owner.training);            // [B*H, T, S]
        var mixed = weights.bmm(v).transpose(0, 1).reshape(length, batch, width);           // [T, B, E]
        var output = F.linear(mixed, Find("out_proj.weight")!, Find("out_proj.bias")).MoveToOuterDisposeScope();
        return (output, needWeights ? weights.view(batch, heads, length, -1).sum([1]).div(heads).MoveToOuterDisposeScope() : null);

        Tensor ByHead(Tensor tensor) => tensor.contiguous().view(-1, batch * heads, size).transpose(0, 1);
    }

    /// <summary>A mask <c>[n, S]</c> that leaves keys that were added behind the S alone.</summary>
    private static Tensor Extend(Tensor mask, long added) => added == 0
        ? mask
        : cat([mask, zeros([mask.shape[0], added], mask.dtype, mask.device)], 1);

    private Tensor Project(string name, long third, Tensor input)
    {
        var weight = Find("in_proj_weight")?.narrow(0, third * width, width) ?? Find($"{name}_proj_weight")!;
        return F.linear(input, weight, Find("in_proj_bias")?.narrow(0, third * width, width));
    }

    private Parameter? Find(string name) => owner.get_parameter(prefix + name);
}
