using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Samples.Pretrained.Text;

/// <summary>BERT's layer: norm(x + attention(x)), then norm(x + MLP(x)).</summary>
internal sealed class MiniLmLayer : nn.Module<Tensor, Tensor, Tensor>
{
    private const int Heads = 12;
    private const int Inner = 1536;
    private const int Width = MiniLm.Width;

    private readonly nn.Module<Tensor, Tensor> query;
    private readonly nn.Module<Tensor, Tensor> key;
    private readonly nn.Module<Tensor, Tensor> value;
    private readonly nn.Module<Tensor, Tensor> attended;
    private readonly nn.Module<Tensor, Tensor> attendedNorm;
    private readonly nn.Module<Tensor, Tensor> up;
    private readonly nn.Module<Tensor, Tensor> down;
    private readonly nn.Module<Tensor, Tensor> outputNorm;

    public MiniLmLayer(int loraRank)
        : base(nameof(MiniLmLayer))
    {
        query = Projection(loraRank);
        key = nn.Linear(Width, Width);
        value = Projection(loraRank);
        attended = nn.Linear(Width, Width);
        attendedNorm = nn.LayerNorm(Width, MiniLm.Epsilon);
        up = nn.Linear(Width, Inner);
        down = nn.Linear(Inner, Width);
        outputNorm = nn.LayerNorm(Width, MiniLm.Epsilon);
        RegisterComponents();
    }

    public override Tensor forward(Tensor x, Tensor mask)
    {
        var attention = attendedNorm.call(x + Attention(x, mask)); // [B, T, D]
        return outputNorm.call(attention + down.call(F.gelu(up.call(attention))));
    }

    private Tensor Attention(Tensor x, Tensor mask)
    {
        var (b, t) = (x.shape[0], x.shape[1]);
        var padding = mask.to_type(ScalarType.Bool).logical_not().reshape(b, 1, 1, t);
        var similarity = Split(query).matmul(Split(key).transpose(2, 3)) / Math.Sqrt((double)Width / Heads); // [B, H, T, T]
        var mixed = similarity.masked_fill(padding, double.NegativeInfinity).softmax(-1).matmul(Split(value)); // [B, H, T, D/H]
        return attended.call(mixed.transpose(1, 2).reshape(b, t, Width));

        Tensor Split(nn.Module<Tensor, Tensor> layer) => layer.call(x).reshape(b, t, Heads, -1).transpose(1, 2);
    }

    private static nn.Module<Tensor, Tensor> Projection(int loraRank) =>
        loraRank > 0 ? new LoraLinear(Width, Width, loraRank) : nn.Linear(Width, Width);
}
