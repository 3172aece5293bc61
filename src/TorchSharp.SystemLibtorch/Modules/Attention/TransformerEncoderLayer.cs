using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>
/// Self-attention and a feed-forward network, each with a residual and a LayerNorm behind it; <c>[T, B, E]</c>. As in
/// TorchSharp it is closed, and hooks run for the call with one input only.
/// </summary>
public sealed class TransformerEncoderLayer :
    nn.Module<Tensor, Tensor>, nn.IModule<Tensor, Tensor, Tensor>, nn.IModule<Tensor, Tensor, Tensor, Tensor>
{
    private readonly EncoderLayerCore _core;

    internal TransformerEncoderLayer(EncoderLayerOptions options) : base("torch::nn::TransformerEncoderLayerImpl")
    {
        Options = options;
        foreach (var (parameter, value) in EncoderLayerCore.Create(options))
        {
            this.RegisterNative(parameter, value);
        }

        _core = new EncoderLayerCore(this, string.Empty, options);
    }

    internal EncoderLayerOptions Options { get; }

    /// <summary>The output without hooks.</summary>
    /// <param name="src"><c>[T, B, E]</c>.</param>
    /// <param name="src_mask"><c>[T, T]</c>, added to the logits.</param>
    /// <param name="src_key_padding_mask"><c>[B, T]</c>, true where a key is not looked at.</param>
    public Tensor call(Tensor src, Tensor src_mask, Tensor src_key_padding_mask) => _core.Forward(src, src_mask, src_key_padding_mask);

    public Tensor call(Tensor src, Tensor src_mask) => _core.Forward(src, src_mask, null);

    public override Tensor forward(Tensor src) => _core.Forward(src, null, null);
}
