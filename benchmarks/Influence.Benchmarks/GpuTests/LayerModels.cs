using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>One small model for each layer rule, for native attention, and for what has no rule.</summary>
internal static class LayerModels
{
    private const long Length = 4;
    private const long Width = 6;

    // Of a float32 convolution with another number of outputs oneDNN 3.7, which libtorch 2.10 takes on a CPU, reads memory that it
    // never wrote for the gradient of the input.
    private const long Outputs = 16;

    private static readonly Dictionary<
        string,
        Func<Func<nn.Module, nn.Module>, (nn.Module<Tensor, Tensor> Model, Func<long, Tensor> Input)>
    > s_known = new()
    {
        ["linear"] = place => (Stack(place, nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3, hasBias: false)), Normal(5)),
        ["linear over positions"] = place => (Stack(place, nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2)), Normal(Length, 5)),
        ["1d convolution"] = place =>
            (
                Stack(
                    place,
                    nn.Conv1d(2, 4, 3, stride: 2, padding: 1, dilation: 2),
                    nn.Tanh(),
                    nn.Conv1d(4, Outputs, 3, groups: 2, bias: false)
                ),
                Normal(2, 13)
            ),
        ["2d convolution"] = place =>
            (
                Stack(place, nn.Conv2d(2, 4, 3, stride: 2, padding: 1), nn.Tanh(), nn.Conv2d(4, Outputs, 3, dilation: 2, bias: false)),
                Normal(2, 11, 10)
            ),
        ["grouped 2d convolution"] = place =>
            (
                Stack(
                    place,
                    nn.Conv2d(4, 2 * Outputs, 3, padding: 1, groups: 2),
                    nn.Tanh(),
                    nn.Conv2d(2 * Outputs, 2 * Outputs, 2, groups: 2 * (int)Outputs)
                ),
                Normal(4, 5, 6)
            ),
        ["2d convolution, same padding"] = place =>
            (Stack(place, nn.Conv2d(2, 3, 4, padding: Padding.Same), nn.Tanh(), nn.Conv2d(3, Outputs, 1)), Normal(2, 6, 5)),
        ["embedding"] = place => (Stack(place, nn.Embedding(9, Width), nn.Tanh(), nn.Linear(Width, 2)), Tokens),
        ["embedding with padding index"] = place =>
            (Stack(place, nn.Embedding(9, Width, padding_idx: 3), nn.Tanh(), nn.Linear(Width, 2)), Tokens),
        ["layer norm"] = place =>
            (Stack(place, nn.Linear(5, Width), Randomised(nn.LayerNorm(Width)), nn.Linear(Width, 2)), Normal(Length, 5)),
        ["group norm"] = place => (Stack(place, nn.Conv2d(2, 4, 3), Randomised(nn.GroupNorm(2, 4)), nn.Tanh()), Normal(2, 6, 6)),
        ["batch norm"] = place =>
            (Stack(place, Trained(nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)), [8, 2, 6, 6]), nn.Tanh()), Normal(2, 6, 6)),
        ["tied weights"] = Tied,
        ["raw parameter"] = RawParameter,
        ["native attention"] = NativeAttention,
        ["native encoder"] = NativeEncoder,
    };

    public static IReadOnlyCollection<string> Names => s_known.Keys;

    /// <summary>A model and what draws n inputs for it, <c>[n, ...]</c>, on the CPU in float64.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="place">Takes a part to its device and dtype: weights that are shared are shared only after that.</param>
    public static (nn.Module<Tensor, Tensor> Model, Func<long, Tensor> Input) Make(string name, Func<nn.Module, nn.Module> place) =>
        s_known[name](place);

    private static (nn.Module<Tensor, Tensor>, Func<long, Tensor>) Tied(Func<nn.Module, nn.Module> place)
    {
        var (table, head) = (nn.Embedding(9, Width), nn.Linear(Width, 9, hasBias: false));
        place(table);
        place(head);
        head.weight = table.weight!;
        return (new Parts(x => head.call(table.call(x).tanh()), ("table", table), ("head", head)), Tokens);
    }

    private static (nn.Module<Tensor, Tensor>, Func<long, Tensor>) RawParameter(Func<nn.Module, nn.Module> place)
    {
        var (first, second) = (nn.Linear(5, Width), nn.Linear(Width, Width));
        place(first);
        place(second);
        return (
            new Parts(x => second.call(first.call(x).tanh()) * first.weight.square().sum(1), ("first", first), ("second", second)),
            Normal(5)
        );
    }

    /// <summary>Sequence first, between two linear layers.</summary>
    private static (nn.Module<Tensor, Tensor>, Func<long, Tensor>) NativeAttention(Func<nn.Module, nn.Module> place)
    {
        var (first, attention, head) = (nn.Linear(5, Width), Randomised(nn.MultiheadAttention(Width, 2)), nn.Linear(Width, 2));
        foreach (var part in new nn.Module[] { first, attention, head })
        {
            place(part);
        }

        var model = new Parts(
            x =>
            {
                var y = first.call(x).transpose(0, 1); // [T, B, D]
                return head.call(attention.call(y, y, y).Item1).transpose(0, 1);
            },
            ("first", first),
            ("attention", attention),
            ("head", head)
        );
        return (model, Normal(Length, 5));
    }

    private static (nn.Module<Tensor, Tensor>, Func<long, Tensor>) NativeEncoder(Func<nn.Module, nn.Module> place)
    {
        using var layer = nn.TransformerEncoderLayer(Width, 3, 8, dropout: 0, activation: nn.Activations.GELU);
        var (first, encoder) = (nn.Linear(5, Width), Randomised(nn.TransformerEncoder(layer, 2)));
        place(first);
        place(encoder);
        return (
            new Parts(x => encoder.call(first.call(x).transpose(0, 1)).transpose(0, 1), ("first", first), ("encoder", encoder)),
            Normal(Length, 5)
        );
    }

    private static nn.Module<Tensor, Tensor> Stack(Func<nn.Module, nn.Module> place, params nn.Module<Tensor, Tensor>[] layers)
    {
        var model = nn.Sequential(layers);
        place(model);
        return model;
    }

    private static Func<long, Tensor> Normal(params long[] shape) => count => randn([count, .. shape], ScalarType.Float64, CPU);

    private static Tensor Tokens(long count) => randint(0, 9, [count, Length], ScalarType.Int64, CPU);

    /// <summary>Gains and biases that are neither one and zero nor, as a GroupNorm's, what the memory held.</summary>
    private static TModule Randomised<TModule>(TModule module)
        where TModule : nn.Module
    {
        using var noGrad = no_grad();
        foreach (var (_, parameter) in module.named_parameters())
        {
            nn.init.normal_(parameter, 0.2, 0.5);
        }

        return module;
    }

    /// <summary>Running statistics that are not the initial ones.</summary>
    private static nn.Module<Tensor, Tensor> Trained(nn.Module<Tensor, Tensor> model, long[] shape)
    {
        using var scope = NewDisposeScope();
        model.train();
        for (var i = 0; i < 3; i++)
        {
            model.call((randn(shape) * 2) + 1);
        }

        return model;
    }

    /// <summary>A module from a function over registered parts.</summary>
    private sealed class Parts : nn.Module<Tensor, Tensor>
    {
        private readonly Func<Tensor, Tensor> _forward;

        public Parts(Func<Tensor, Tensor> forward, params (string Name, nn.Module Module)[] parts)
            : base(nameof(Parts))
        {
            _forward = forward;
            foreach (var (name, module) in parts)
            {
                register_module(name, module);
            }
        }

        public override Tensor forward(Tensor input) => _forward(input);
    }
}
