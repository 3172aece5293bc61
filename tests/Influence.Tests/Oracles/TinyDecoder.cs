using Influence.Estimators;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Oracles;

/// <summary>One block of a decoder in float64: causal attention with separate projections, an MLP, norms before both.</summary>
public sealed class TinyDecoder : nn.Module<Tensor, Tensor>
{
    public const int Vocabulary = 11;
    public const int Length = 6;
    private const int Width = 8;
    private const int HeadCount = 2;
    private readonly Embedding tokens = nn.Embedding(Vocabulary, Width, dtype: float64);
    private readonly Embedding positions = nn.Embedding(Length, Width, dtype: float64);
    private readonly LayerNorm norm1 = nn.LayerNorm(Width, dtype: float64);
    private readonly LayerNorm norm2 = nn.LayerNorm(Width, dtype: float64);
    private readonly Linear q = nn.Linear(Width, Width, dtype: float64);
    private readonly Linear k = nn.Linear(Width, Width, dtype: float64);
    private readonly Linear v = nn.Linear(Width, Width, dtype: float64);
    private readonly Linear o = nn.Linear(Width, Width, dtype: float64);
    private readonly Linear up = nn.Linear(Width, 12, dtype: float64);
    private readonly Linear down = nn.Linear(12, Width, dtype: float64);
    private readonly Linear head = nn.Linear(Width, Vocabulary, dtype: float64);

    public TinyDecoder()
        : base(nameof(TinyDecoder))
    {
        RegisterComponents();
        eval();
    }

    public static InfluenceFunction.Projections Heads { get; } = new("q.weight", "k.weight", "v.weight", "o.weight", HeadCount);

    public InfluenceTask Task(LayerSelection? layers = null) =>
        new(this) { TrainingLoss = b => Losses.CrossEntropy(call(b["x"]), b["y"], b["mask"]), Layers = layers ?? LayerSelection.All };

    /// <summary>Random sequences; the mask leaves out the first predictions, as for a prompt.</summary>
    public static Examples Sequences(int count)
    {
        var text = randint(0, Vocabulary, [count, Length + 1]);
        var mask = ones([count, Length], ScalarType.Bool);
        mask[.., ..2] = false;
        return Examples.FromTensors(("x", text[.., ..Length].clone()), ("y", text[.., 1..].clone()), ("mask", mask));
    }

    public override Tensor forward(Tensor input)
    {
        var x = tokens.call(input) + positions.call(arange(input.shape[1])); // [B, T, D]
        x = x + Attention(norm1.call(x));
        x = x + down.call(F.gelu(up.call(norm2.call(x))));
        return head.call(x);
    }

    private Tensor Attention(Tensor x)
    {
        var (b, t) = (x.shape[0], x.shape[1]);
        var future = ones([t, t], ScalarType.Bool).triu(1);
        var scores = Split(q.call(x)).matmul(Split(k.call(x)).transpose(2, 3)) / Math.Sqrt(Width / HeadCount);
        var mixed = F.softmax(scores.masked_fill(future, double.NegativeInfinity), -1).matmul(Split(v.call(x)));
        return o.call(mixed.transpose(1, 2).reshape(b, t, Width));

        Tensor Split(Tensor y) => y.reshape(b, t, HeadCount, Width / HeadCount).transpose(1, 2);
    }
}
