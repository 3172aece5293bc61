using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Benchmarks.Shared;

/// <summary>
/// A decoder over bytes: token and position embeddings, blocks with LayerNorm before attention and MLP, a last norm and a
/// linear head. Attention is written out, so that it runs the same on every libtorch.
/// </summary>
internal sealed class Decoder : nn.Module<Tensor, Tensor>
{
    private readonly nn.Module<Tensor, Tensor> tokens;
    private readonly nn.Module<Tensor, Tensor> positions;
    private readonly TorchSharp.Modules.ModuleList<nn.Module<Tensor, Tensor>> blocks;
    private readonly nn.Module<Tensor, Tensor> norm;
    private readonly nn.Module<Tensor, Tensor> head;

    public Decoder(DecoderSize size)
        : base(nameof(Decoder))
    {
        tokens = nn.Embedding(DecoderSize.Vocabulary, size.Width);
        positions = nn.Embedding(size.Positions, size.Width);
        blocks = nn.ModuleList<nn.Module<Tensor, Tensor>>([.. Enumerable.Range(0, size.Layers).Select(_ => new DecoderBlock(size))]);
        norm = nn.LayerNorm(size.Width);
        head = nn.Linear(size.Width, DecoderSize.Vocabulary);
        RegisterComponents();
    }

    /// <param name="input">Bytes as int64, <c>[B, T]</c>.</param>
    /// <returns>Logits of the next byte, <c>[B, T, 256]</c>.</returns>
    public override Tensor forward(Tensor input)
    {
        var place = arange(0, input.shape[1], 1, ScalarType.Int64, input.device); // [T]
        var x = tokens.call(input) + positions.call(place); // [B, T, D]
        foreach (var block in blocks)
        {
            x = block.call(x);
        }

        return head.call(norm.call(x));
    }
}

/// <summary>x + attention(norm(x)), then x + MLP(norm(x)).</summary>
internal sealed class DecoderBlock : nn.Module<Tensor, Tensor>
{
    private readonly long _heads;
    private readonly nn.Module<Tensor, Tensor> attentionNorm;
    private readonly nn.Module<Tensor, Tensor> q;
    private readonly nn.Module<Tensor, Tensor> k;
    private readonly nn.Module<Tensor, Tensor> v;
    private readonly nn.Module<Tensor, Tensor> o;
    private readonly nn.Module<Tensor, Tensor> mlpNorm;
    private readonly nn.Module<Tensor, Tensor> up;
    private readonly nn.Module<Tensor, Tensor> down;

    public DecoderBlock(DecoderSize size)
        : base(nameof(DecoderBlock))
    {
        _heads = size.Heads;
        attentionNorm = nn.LayerNorm(size.Width);
        q = nn.Linear(size.Width, size.Width);
        k = nn.Linear(size.Width, size.Width);
        v = nn.Linear(size.Width, size.Width);
        o = nn.Linear(size.Width, size.Width);
        mlpNorm = nn.LayerNorm(size.Width);
        up = nn.Linear(size.Width, DecoderSize.MlpFactor * size.Width);
        down = nn.Linear(DecoderSize.MlpFactor * size.Width, size.Width);
        register_buffer("future", ones(size.Positions, size.Positions, dtype: ScalarType.Bool).triu(1));
        RegisterComponents();
    }

    public override Tensor forward(Tensor input)
    {
        var x = input + Attention(attentionNorm.call(input));
        return x + down.call(F.gelu(up.call(mlpNorm.call(x))));
    }

    private Tensor Attention(Tensor x)
    {
        var (b, t, d) = (x.shape[0], x.shape[1], x.shape[2]);
        var future = get_buffer("future")!.narrow(0, 0, t).narrow(1, 0, t); // [T, T]
        var weights = Split(q).matmul(Split(k).transpose(2, 3)) / Math.Sqrt(d / (double)_heads); // [B, H, T, T]
        var mixed = weights.masked_fill(future, double.NegativeInfinity).softmax(-1).matmul(Split(v)); // [B, H, T, D/H]
        return o.call(mixed.transpose(1, 2).reshape(b, t, d));

        Tensor Split(nn.Module<Tensor, Tensor> layer) => layer.call(x).reshape(b, t, _heads, -1).transpose(1, 2);
    }
}
