using Influence.Gradients;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Oracles;

/// <summary>GPT-2's architecture with Hugging Face's names in float64: transposed weights, packed projections, a head that is tied to the
/// tokens' table.</summary>
public sealed class TinyGpt2 : nn.Module<Tensor, Tensor>
{
    public const int Vocabulary = 11;
    public const int Length = 6;
    public const int Width = 6;
    public const int HeadCount = 2;
    private readonly Transformer transformer = new();
    private readonly Linear lm_head = nn.Linear(Width, Vocabulary, hasBias: false, dtype: float64);

    public TinyGpt2(bool tied = true)
        : base(nameof(TinyGpt2))
    {
        RegisterComponents();
        if (tied)
        {
            lm_head.weight = ((Embedding)transformer.named_children().First(c => c.name == "wte").module).weight!;
        }

        // TransposedLinear's own start is too even for differences between terms to show.
        using var noGrad = no_grad();
        foreach (var parameter in parameters().Where(p => p.dim() == 2))
        {
            nn.init.normal_(parameter, 0, 0.5);
        }

        eval();
    }

    public InfluenceTask Task(LayerSelection? layers = null) =>
        new(this) { TrainingLoss = b => Losses.CrossEntropy(call(b["x"]), b["y"]), Layers = layers ?? LayerSelection.All };

    public static Examples Sequences(int count)
    {
        var text = randint(0, Vocabulary, [count, Length + 1]);
        return Examples.FromTensors(("x", text[.., ..Length].clone()), ("y", text[.., 1..].clone()));
    }

    public override Tensor forward(Tensor input) => lm_head.call(transformer.call(input));

    private sealed class Transformer : nn.Module<Tensor, Tensor>
    {
        private readonly Embedding wte = nn.Embedding(Vocabulary, Width, dtype: float64);
        private readonly Embedding wpe = nn.Embedding(Length, Width, dtype: float64);
        private readonly ModuleList<Block> h = nn.ModuleList(new Block(), new Block());
        private readonly LayerNorm ln_f = nn.LayerNorm(Width, dtype: float64);

        public Transformer()
            : base(nameof(Transformer)) => RegisterComponents();

        public override Tensor forward(Tensor input)
        {
            var x = wte.call(input) + wpe.call(arange(input.shape[1]).unsqueeze(0).expand(input.shape[0], -1));
            return ln_f.call(h.Aggregate(x, (y, block) => block.call(y)));
        }
    }

    private sealed class Block : nn.Module<Tensor, Tensor>
    {
        private readonly LayerNorm ln_1 = nn.LayerNorm(Width, dtype: float64);
        private readonly Attention attn = new();
        private readonly LayerNorm ln_2 = nn.LayerNorm(Width, dtype: float64);
        private readonly Mlp mlp = new();

        public Block()
            : base(nameof(Block)) => RegisterComponents();

        public override Tensor forward(Tensor input)
        {
            var x = input + attn.call(ln_1.call(input));
            return x + mlp.call(ln_2.call(x));
        }
    }

    private sealed class Attention : nn.Module<Tensor, Tensor>
    {
        private readonly TransposedLinear c_attn = new(Width, 3 * Width, dtype: float64);
        private readonly TransposedLinear c_proj = new(Width, Width, dtype: float64);

        public Attention()
            : base(nameof(Attention)) => RegisterComponents();

        public override Tensor forward(Tensor input)
        {
            var (b, t) = (input.shape[0], input.shape[1]);
            var qkv = c_attn.call(input).chunk(3, -1);
            var future = ones([t, t], ScalarType.Bool).triu(1);
            var logits = Split(qkv[0]).matmul(Split(qkv[1]).transpose(2, 3)) / Math.Sqrt((double)Width / HeadCount);
            var mixed = logits.masked_fill(future, double.NegativeInfinity).softmax(-1).matmul(Split(qkv[2]));
            return c_proj.call(mixed.transpose(1, 2).reshape(b, t, Width));

            Tensor Split(Tensor y) => y.reshape(b, t, HeadCount, -1).transpose(1, 2);
        }
    }

    private sealed class Mlp : nn.Module<Tensor, Tensor>
    {
        private readonly TransposedLinear c_fc = new(Width, 2 * Width, dtype: float64);
        private readonly TransposedLinear c_proj = new(2 * Width, Width, dtype: float64);

        public Mlp()
            : base(nameof(Mlp)) => RegisterComponents();

        public override Tensor forward(Tensor input) => c_proj.call(F.gelu(c_fc.call(input)));
    }
}
