using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>Causal attention; one weight gives queries, keys and values side by side.</summary>
internal sealed class Gpt2Attention : nn.Module<Tensor, Tensor>
{
    private readonly int _heads;
    private readonly TransposedLinear c_attn;
    private readonly TransposedLinear c_proj;
    private LoraFactors? _lora;

    public Gpt2Attention(Gpt2Settings settings)
        : base(nameof(Gpt2Attention))
    {
        _heads = settings.Heads;
        c_attn = new TransposedLinear(settings.Width, 3 * settings.Width);
        c_proj = new TransposedLinear(settings.Width, settings.Width);
        RegisterComponents();
    }

    public void AddLora(int rank, double alpha)
    {
        var weight = c_attn.get_parameter("weight")!;
        _lora = new LoraFactors(weight.shape[0], weight.shape[1], rank, alpha);
        register_module("c_attn_lora", _lora);
    }

    public override Tensor forward(Tensor input)
    {
        var (b, t, d) = (input.shape[0], input.shape[1], input.shape[2]);
        var projected = c_attn.call(input); // [B, T, 3D]
        var qkv = (_lora is null ? projected : projected + _lora.call(input)).chunk(3, -1);
        var future = ones(t, t, dtype: ScalarType.Bool, device: input.device).triu(1); // [T, T]
        var similarity = (Heads(qkv[0]) / Math.Sqrt((double)d / _heads)).matmul(Heads(qkv[1]).transpose(2, 3)); // [B, H, T, T]
        var mixed = similarity.masked_fill(future, double.NegativeInfinity).softmax(-1).matmul(Heads(qkv[2])); // [B, H, T, D/H]
        return c_proj.call(mixed.transpose(1, 2).reshape(b, t, d));

        Tensor Heads(Tensor x) => x.reshape(b, t, _heads, -1).transpose(1, 2);
    }
}
