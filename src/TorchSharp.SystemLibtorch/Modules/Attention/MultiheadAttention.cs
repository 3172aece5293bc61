using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>
/// Multi-head attention, sequence first: queries <c>[T, B, E]</c>, keys and values <c>[S, B, ...]</c>. As in TorchSharp it
/// is closed: its settings cannot be read, and its parameters only by their native names.
/// </summary>
public sealed class MultiheadAttention : nn.Module<Tensor, Tensor, Tensor, Tensor?, bool, Tensor?, Tuple<Tensor, Tensor>>
{
    private readonly AttentionCore _core;

    internal MultiheadAttention(
        long width, long heads, double dropout, bool bias, bool biasKv, bool zeroAttention, long kdim, long vdim)
        : base("torch::nn::MultiheadAttention")
    {
        foreach (var (parameter, value) in AttentionCore.Create(width, heads, bias, biasKv, kdim, vdim))
        {
            this.RegisterNative(parameter, value);
        }

        _core = new AttentionCore(this, string.Empty, width, heads, dropout, zeroAttention);
    }

    /// <summary>The output <c>[T, B, E]</c> and the weights <c>[B, T, S]</c>, averaged over the heads; no weights are an invalid tensor.</summary>
    /// <param name="query"><c>[T, B, E]</c>.</param>
    /// <param name="key"><c>[S, B, K]</c>.</param>
    /// <param name="value">In the key's shape.</param>
    /// <param name="key_padding_mask">Optional <c>[B, S]</c>: true where a key is not looked at.</param>
    /// <param name="need_weights">Whether the weights are returned too.</param>
    /// <param name="attn_mask">Optional <c>[T, S]</c>, added to the logits: use minus infinity, for true adds one.</param>
    public override Tuple<Tensor, Tensor> forward(
        Tensor query, Tensor key, Tensor value, Tensor? key_padding_mask, bool need_weights, Tensor? attn_mask)
    {
        var (output, weights) = _core.Forward(query, key, value, key_padding_mask, need_weights, attn_mask);
        return Tuple.Create(output, weights ?? new Tensor(0));
    }

    public new Tuple<Tensor, Tensor> call(
        Tensor query, Tensor key, Tensor value, Tensor? key_padding_mask = null, bool need_weights = true, Tensor? attn_mask = null) =>
        base.call(query, key, value, key_padding_mask, need_weights, attn_mask);
}
