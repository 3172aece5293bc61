using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>Models with TorchSharp's native attention, which is sequence first and closed to hooks.</summary>
internal static class NativeAttentionCases
{
    private const long Length = 4;

    public static readonly string[] Names =
    [
        "native attention",
        "native attention without biases",
        "native attention masked",
        "native attention cross",
        "native attention of three inputs",
        "native attention over two windows",
        "native attention weights",
        "native attention twice",
        "native attention with zero keys",
        "native attention with biased keys",
        "native attention frozen in part",
        "native encoder layer",
        "native encoder layer gelu",
        "native encoder layer masked",
        "native encoder",
        "native encoder masked",
        "native encoder on its own",
        "native attention behind in-place",
    ];

    public static ModelCase Build(string name)
    {
        switch (name)
        {
            case "native attention":
                return Attention(name, Module(6, 2), (a, x) => a.call(x, x, x).Item1);
            case "native attention without biases":
                return Attention(name, Module(6, 3, bias: false), (a, x) => a.call(x, x, x, need_weights: false).Item1);
            case "native attention masked":
            {
                var (first, attention, head) = (nn.Linear(5, 6, dtype: float64), Module(6, 2), nn.Linear(6, 2, dtype: float64));
                var model = new Composite(x => x, ("first", first), ("native", Random(attention)), ("head", head));
                return new ModelCase(
                    name,
                    model,
                    t =>
                    {
                        var x = first.call(t[0]).transpose(0, 1);
                        return ModelCase.SquaredNorm(
                            head.call(attention.call(x, x, x, t[1], attn_mask: Causal()).Item1.transpose(0, 1)),
                            t[2]
                        );
                    },
                    n => [randn([n, Length, 5], dtype: float64), Padding(n), randn([n, Length, 2], dtype: float64)]
                );
            }

            case "native attention cross":
            {
                var keys = nn.Linear(5, 4, dtype: float64);
                return Attention(
                    name,
                    Module(6, 2, kdim: 4),
                    (a, x, raw) =>
                    {
                        var y = keys.call(raw.narrow(0, 0, 3));
                        return a.call(x, y, y).Item1;
                    },
                    ("keys", keys)
                );
            }

            case "native attention of three inputs":
            {
                var (keys, values) = (nn.Linear(5, 6, dtype: float64), nn.Linear(5, 6, dtype: float64));
                return Attention(
                    name,
                    Module(6, 6),
                    (a, x, raw) => a.call(x, keys.call(raw), values.call(raw)).Item1,
                    ("keys", keys),
                    ("values", values)
                );
            }

            case "native attention over two windows":
                // [T, B, E] as windows of half the length: [T/2, 2B, E], the windows of an example side by side.
                return Attention(
                    name,
                    Module(6, 2),
                    (a, x) =>
                    {
                        var windows = x.reshape(2, Length / 2, -1, 6).transpose(0, 1).transpose(1, 2).reshape(Length / 2, -1, 6);
                        return a.call(windows, windows, windows)
                            .Item1.reshape(Length / 2, -1, 2, 6)
                            .transpose(1, 2)
                            .transpose(0, 1)
                            .reshape(Length, -1, 6);
                    }
                );
            case "native attention weights":
                return Attention(
                    name,
                    Module(6, 2),
                    (a, x) =>
                    {
                        var (output, weights) = a.call(x, x, x);
                        return output + weights.Squared().sum([1]).transpose(0, 1).unsqueeze(-1);
                    }
                );
            case "native attention twice":
                return Attention(
                    name,
                    Module(6, 2),
                    (a, x) =>
                    {
                        var y = a.call(x, x, x).Item1;
                        return a.call(y, x, x).Item1;
                    }
                );
            case "native attention with zero keys":
                return Attention(
                    name,
                    Module(6, 2, zero: true),
                    (a, x) => a.call(x, x, x, zeros([x.shape[1], Length], ScalarType.Bool), attn_mask: Causal()).Item1
                );
            case "native attention with biased keys":
                return Attention(name, Module(6, 2, biasKv: true), (a, x) => a.call(x, x, x).Item1);
            case "native attention frozen in part":
            {
                var attention = Module(6, 2);
                attention.get_parameter("in_proj_weight")!.requires_grad = false;
                attention.get_parameter("out_proj.bias")!.requires_grad = false;
                return Attention(name, attention, (a, x) => a.call(x, x, x).Item1);
            }

            case "native encoder layer":
                return Encoder(name, Layer(nn.Activations.ReLU), (e, x) => e.call(x));
            case "native encoder layer gelu":
                return Encoder(name, Layer(nn.Activations.GELU), (e, x) => e.call(x));
            case "native encoder layer masked":
                // TorchSharp runs no hook here.
                return Encoder(name, Layer(nn.Activations.ReLU), (e, x) => e.call(x, Causal()));
            case "native encoder":
                return Encoder(name, Stack(nn.Activations.ReLU), (e, x) => e.call(x));
            case "native encoder masked":
                return Encoder(
                    name,
                    Stack(nn.Activations.GELU),
                    (e, x) =>
                    {
                        // Every example's first position can be looked at.
                        var padding = x.detach().select(2, 0).transpose(0, 1) > 0.5;
                        padding = padding.logical_and(arange(Length).greater(0).unsqueeze(0));
                        return e.call(x, Causal(), padding);
                    }
                );
            case "native encoder on its own":
            {
                var encoder = Random(Stack(nn.Activations.GELU));
                return new ModelCase(
                    name,
                    encoder,
                    t => ModelCase.SquaredNorm(encoder.call(t[0].transpose(0, 1)).transpose(0, 1), t[1]),
                    n => [randn([n, Length, 6], dtype: float64), randn([n, Length, 6], dtype: float64)]
                );
            }

            case "native attention behind in-place":
                return Attention(
                    name,
                    Module(6, 2),
                    (a, x) =>
                    {
                        var y = a.call(x, x, x).Item1;
                        return y.add_(x).relu_();
                    }
                );
            default:
                throw new ArgumentException(name);
        }
    }

    private static MultiheadAttention Module(
        long width,
        long heads,
        bool bias = true,
        bool biasKv = false,
        bool zero = false,
        long? kdim = null
    ) => nn.MultiheadAttention(width, heads, bias: bias, add_bias_kv: biasKv, add_zero_attn: zero, kdim: kdim, vdim: kdim).to(float64);

    private static TransformerEncoderLayer Layer(nn.Activations activation) =>
        nn.TransformerEncoderLayer(6, 3, 8, activation: activation).to(float64);

    private static TransformerEncoder Stack(nn.Activations activation)
    {
        using var layer = nn.TransformerEncoderLayer(6, 3, 8, activation: activation);
        return nn.TransformerEncoder(layer, 2).to(float64);
    }

    private static ModelCase Attention(string name, MultiheadAttention attention, Func<MultiheadAttention, Tensor, Tensor> use) =>
        Attention(name, attention, (a, x, _) => use(a, x));

    private static ModelCase Attention(
        string name,
        MultiheadAttention attention,
        Func<MultiheadAttention, Tensor, Tensor, Tensor> use,
        params (string, nn.Module)[] more
    ) => Between(name, Random(attention), (x, raw) => use(attention, x, raw), more);

    private static ModelCase Encoder<TModule>(string name, TModule encoder, Func<TModule, Tensor, Tensor> use)
        where TModule : nn.Module => Between(name, Random(encoder), (x, _) => use(encoder, x));

    /// <summary>A native module between two linear layers; it sees [T, B, 6], and the raw inputs [T, B, 5].</summary>
    private static ModelCase Between(string name, nn.Module native, Func<Tensor, Tensor, Tensor> use, params (string, nn.Module)[] more)
    {
        var (first, head) = (nn.Linear(5, 6, dtype: float64), nn.Linear(6, 2, dtype: float64));
        var model = new Composite(
            x => head.call(use(first.call(x).transpose(0, 1), x.transpose(0, 1))).transpose(0, 1),
            [("first", first), ("native", native), ("head", head), .. more]
        );
        return new ModelCase(
            name,
            model,
            t => ModelCase.SquaredNorm(model.call(t[0]), t[1]),
            n => [randn([n, Length, 5], dtype: float64), randn([n, Length, 2], dtype: float64)]
        );
    }

    /// <summary>Biases and gains that are not zero and one.</summary>
    private static TModule Random<TModule>(TModule module)
        where TModule : nn.Module
    {
        using var noGrad = no_grad();
        foreach (var (_, parameter) in module.named_parameters())
        {
            using var noise = randn_like(parameter);
            parameter.add_(noise.mul_(0.3));
        }

        return module;
    }

    private static Tensor Causal() =>
        zeros(Length, Length, float64).masked_fill(ones(Length, Length).triu(1).to_type(ScalarType.Bool), double.NegativeInfinity);

    /// <summary>The last position of every other example is padding.</summary>
    private static Tensor Padding(long n) =>
        arange(n).remainder(2).unsqueeze(1).eq(1).logical_and(arange(Length).eq(Length - 1).unsqueeze(0));
}
