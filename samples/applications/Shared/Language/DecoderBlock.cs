using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Samples.Language;

/// <summary>x + attention(norm(x)), then x + MLP(norm(x)).</summary>
internal sealed class DecoderBlock : nn.Module<Tensor, Tensor>
{
    private const int MlpFactor = 4;

    private readonly int _heads;
    private readonly nn.Module<Tensor, Tensor> attentionNorm;
    private readonly nn.Module<Tensor, Tensor> q;
    private readonly nn.Module<Tensor, Tensor> k;
    private readonly nn.Module<Tensor, Tensor> v;
    private readonly nn.Module<Tensor, Tensor> o;
    private readonly nn.Module<Tensor, Tensor> mlpNorm;
    private readonly nn.Module<Tensor, Tensor> up;
    private readonly nn.Module<Tensor, Tensor> down;

    public DecoderBlock(int width, int heads)
        : base(nameof(DecoderBlock))
    {
        _heads = heads;
        attentionNorm = nn.LayerNorm(width);
        q = nn.Linear(width, width);
        k = nn.Linear(width, width);
        v = nn.Linear(width, width);
        o = nn.Linear(width, width);
        mlpNorm = nn.LayerNorm(width);
        up = nn.Linear(width, MlpFactor * width);
        down = nn.Linear(MlpFactor * width, width);
        RegisterComponents();
    }

    public override Tensor forward(Tensor input)
    {
        var x = input + Attention(attentionNorm.call(input)); // [B, T, D]
        return x + down.call(F.gelu(up.call(mlpNorm.call(x)))); // [B, T, D]
    }

    private Tensor Attention(Tensor x)
    {
        var (b, t, d) = (x.shape[0], x.shape[1], x.shape[2]);
        var future = ones(t, t, dtype: ScalarType.Bool, device: x.device).triu(1); // [T, T]
        var similarity = (Heads(q) / Math.Sqrt((double)d / _heads)).matmul(Heads(k).transpose(2, 3)); // [B, H, T, T]
        var mixed = similarity.masked_fill(future, double.NegativeInfinity).softmax(-1).matmul(Heads(v)); // [B, H, T, D/H]
        return o.call(mixed.transpose(1, 2).reshape(b, t, d));

        Tensor Heads(nn.Module<Tensor, Tensor> layer) => layer.call(x).reshape(b, t, _heads, -1).transpose(1, 2);
    }
}
