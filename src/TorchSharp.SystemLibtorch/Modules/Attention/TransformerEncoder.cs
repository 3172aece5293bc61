using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Encoder layers one after the other, <c>[T, B, E]</c>; each starts as a copy of the given one. Closed, as in TorchSharp.</summary>
public sealed class TransformerEncoder :
    nn.Module<Tensor, Tensor, Tensor, Tensor>, nn.IModule<Tensor, Tensor, Tensor>, nn.IModule<Tensor, Tensor>
{
    private readonly List<EncoderLayerCore> _layers = [];

    internal TransformerEncoder(TransformerEncoderLayer layer, long count) : base("torch::nn::TransformerEncoderImpl")
    {
        using var noGrad = no_grad();
        for (var i = 0L; i < count; i++)
        {
            foreach (var (parameter, value) in layer.named_parameters())
            {
                this.RegisterNative($"layers.{i}.{parameter}", value.detach().clone());
            }

            _layers.Add(new EncoderLayerCore(this, $"layers.{i}.", layer.Options));
        }
    }

    public override Tensor forward(Tensor src, Tensor src_mask, Tensor src_key_padding_mask)
    {
        using var scope = NewDisposeScope();
        var output = src;
        foreach (var layer in _layers)
        {
            output = layer.Forward(output, src_mask, src_key_padding_mask);
        }

        return (ReferenceEquals(output, src) ? src.alias() : output).MoveToOuterDisposeScope();
    }

    public Tensor call(Tensor src, Tensor src_mask) => base.call(src, src_mask, null!);

    public Tensor call(Tensor src) => base.call(src, null!, null!);
}
