using TorchSharp;
using Xunit;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Oracles;

/// <summary>A model, a per-example loss and random inputs, in float64.</summary>
/// <param name="Name">What it tests.</param>
/// <param name="Model">The model, in evaluation mode.</param>
/// <param name="Loss">From one batch of inputs to one loss per example.</param>
/// <param name="Inputs">Makes n examples.</param>
public sealed record ModelCase(string Name, nn.Module Model, Func<Tensor[], Tensor> Loss, Func<long, Tensor[]> Inputs)
{
    public override string ToString() => Name;

    internal InfluenceTask Task(LayerSelection? layers = null) =>
        new(Model)
        {
            TrainingLoss = b => Loss([.. Enumerable.Range(0, b.Names.Count).Select(i => b[i])]),
            Layers = layers ?? LayerSelection.All,
        };

    internal static Tensor SquaredNorm(Tensor output, Tensor target) => (output - target).Squared().reshape(output.shape[0], -1).sum(1);
}

/// <summary>A module from a function over registered parts; parts are run by call.</summary>
public sealed class Composite : nn.Module<Tensor, Tensor>
{
    private readonly Func<Tensor, Tensor> _forward;

    public Composite(Func<Tensor, Tensor> forward, params (string Name, nn.Module Module)[] parts)
        : base("Composite")
    {
        _forward = forward;
        foreach (var (name, module) in parts)
        {
            register_module(name, module);
        }
    }

    public Composite With(string name, TorchSharp.Modules.Parameter parameter)
    {
        register_parameter(name, parameter);
        return this;
    }

    public override Tensor forward(Tensor input) => _forward(input);
}

/// <summary>Every kind of layer and use that a rule, a layout or the fallback covers.</summary>
public static class Cases
{
    public static readonly string[] Names =
    [
        "linear",
        "linear without bias",
        "linear over positions",
        "linear over two position axes",
        "mlp",
        "conv2d",
        "conv2d strided",
        "conv2d dilated",
        "conv2d grouped",
        "conv2d depthwise",
        "conv2d same padding even kernel",
        "conv2d 1x1",
        "conv2d rectangular",
        "conv1d",
        "conv1d grouped",
        "embedding",
        "embedding with padding index",
        "layer norm",
        "layer norm over two dimensions",
        "group norm",
        "batch norm eval",
        "attention causal",
        "attention grouped-query rotary padded",
        "tied linear twice",
        "tied embedding and head",
        "layer called twice",
        "position table",
        "sequence first",
        "merged rows",
        "in-place activation",
        "raw parameter",
        "weight also used outside",
        "frozen weight",
        "frozen bias",
        "cnn with batch norm",
        "recurrent",
        .. NativeAttentionCases.Names,
        .. LayerCases.Names,
    ];

    public static TheoryData<string> All => [.. Names];

    public static ModelCase Make(string name)
    {
        torch.random.manual_seed(Array.IndexOf(Names, name) + 1);
        var made = Build(name);
        made.Model.eval();
        return made;
    }

    private static ModelCase Build(string name)
    {
        switch (name)
        {
            case "linear":
                return Regression(name, nn.Linear(5, 3, dtype: float64), [5], [3]);
            case "linear without bias":
                return Regression(name, nn.Linear(5, 3, hasBias: false, dtype: float64), [5], [3]);
            case "linear over positions":
                return Regression(name, nn.Linear(5, 3, dtype: float64), [4, 5], [4, 3]);
            case "linear over two position axes":
                return Regression(name, nn.Linear(5, 3, dtype: float64), [2, 3, 5], [2, 3, 3]);
            case "mlp":
                return Regression(
                    name,
                    Sequential(
                        nn.Linear(6, 7, dtype: float64),
                        nn.Tanh(),
                        nn.Linear(7, 4, dtype: float64),
                        nn.ReLU(),
                        nn.Linear(4, 2, dtype: float64)
                    ),
                    [6],
                    [2]
                );
            case "conv2d":
                return Convolution(name, nn.Conv2d(2, 3, 3, padding: 1, dtype: float64), [2, 6, 7]);
            case "conv2d strided":
                return Convolution(name, nn.Conv2d(2, 3, 3, stride: 2, padding: 1, bias: false, dtype: float64), [2, 8, 7]);
            case "conv2d dilated":
                return Convolution(name, nn.Conv2d(2, 3, 3, dilation: 2, dtype: float64), [2, 8, 9]);
            case "conv2d grouped":
                return Convolution(name, nn.Conv2d(4, 6, 3, padding: 1, groups: 2, dtype: float64), [4, 5, 6]);
            case "conv2d depthwise":
                return Convolution(name, nn.Conv2d(3, 6, 3, stride: 2, groups: 3, dtype: float64), [3, 7, 7]);
            case "conv2d same padding even kernel":
                return Convolution(name, nn.Conv2d(2, 3, 4, padding: Padding.Same, dtype: float64), [2, 6, 5]);
            case "conv2d 1x1":
                return Convolution(name, nn.Conv2d(3, 2, 1, dtype: float64), [3, 4, 4]);
            case "conv2d rectangular":
                return Convolution(name, nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0), (1, 2), dtype: float64), [2, 7, 8]);
            case "conv1d":
                return Convolution(name, nn.Conv1d(2, 3, 3, stride: 2, padding: 1, dilation: 2, dtype: float64), [2, 11]);
            case "conv1d grouped":
                return Convolution(name, nn.Conv1d(4, 4, 3, groups: 4, dtype: float64), [4, 9]);
            case "embedding":
                return Tokens(name, nn.Embedding(11, 4, dtype: float64));
            case "embedding with padding index":
                return Tokens(name, nn.Embedding(11, 4, padding_idx: 3, dtype: float64));
            case "layer norm":
                return Regression(
                    name,
                    Sequential(nn.Linear(5, 6, dtype: float64), nn.LayerNorm(6, dtype: float64), nn.Linear(6, 2, dtype: float64)),
                    [3, 5],
                    [3, 2]
                );
            case "layer norm over two dimensions":
                return Regression(
                    name,
                    Sequential(nn.Linear(5, 6, dtype: float64), nn.LayerNorm([3, 6], dtype: float64), nn.Linear(6, 2, dtype: float64)),
                    [4, 3, 5],
                    [4, 3, 2]
                );
            case "group norm":
                return Convolution(name, Sequential(nn.Conv2d(2, 4, 3, dtype: float64), GroupNorm()), [2, 6, 6]);
            case "batch norm eval":
                return Convolution(
                    name,
                    Trained(Sequential(nn.Conv2d(2, 4, 3, dtype: float64), nn.BatchNorm2d(4, dtype: float64)), [8, 2, 6, 6]),
                    [2, 6, 6]
                );
            case "tied linear twice":
            {
                var (first, second) = (nn.Linear(5, 5, dtype: float64), nn.Linear(5, 5, dtype: float64));
                second.weight = first.weight;
                return Regression(
                    name,
                    new Composite(x => second.call(first.call(x).tanh()), ("first", first), ("second", second)),
                    [5],
                    [5]
                );
            }

            case "tied embedding and head":
            {
                var (table, head) = (nn.Embedding(9, 4, dtype: float64), nn.Linear(4, 9, dtype: float64));
                head.weight = table.weight!;
                var model = new Composite(x => head.call(table.call(x).tanh()), ("table", table), ("head", head));
                return new ModelCase(
                    name,
                    model,
                    t => Losses.CrossEntropy(model.call(t[0]), t[1]),
                    n => [randint(0, 9, [n, 5]), randint(0, 9, [n, 5])]
                );
            }

            case "layer called twice":
            {
                var layer = nn.Linear(5, 5, dtype: float64);
                return Regression(name, new Composite(x => layer.call(layer.call(x).tanh()), ("layer", layer)), [5], [5]);
            }

            case "position table":
            {
                var (tokens, positions, head) = (
                    nn.Embedding(9, 4, dtype: float64),
                    nn.Embedding(6, 4, dtype: float64),
                    nn.Linear(4, 9, dtype: float64)
                );
                var model = new Composite(
                    x => head.call((tokens.call(x) + positions.call(arange(6))).tanh()),
                    ("tokens", tokens),
                    ("positions", positions),
                    ("head", head)
                );
                return new ModelCase(
                    name,
                    model,
                    t => Losses.CrossEntropy(model.call(t[0]), t[1]),
                    n => [randint(0, 9, [n, 6]), randint(0, 9, [n, 6])]
                );
            }

            case "sequence first":
            {
                var (a, b) = (nn.Linear(5, 4, dtype: float64), nn.Linear(4, 2, dtype: float64));
                return Regression(
                    name,
                    new Composite(x => b.call(a.call(x.transpose(0, 1)).tanh()).transpose(0, 1), ("a", a), ("b", b)),
                    [3, 5],
                    [3, 2]
                );
            }

            case "merged rows":
            {
                var (conv, head) = (nn.Conv2d(1, 2, 3, dtype: float64), nn.Linear(4, 2, dtype: float64));
                return Regression(
                    name,
                    new Composite(
                        x =>
                            head.call(conv.call(x.reshape(-1, 1, 5, 5)).tanh().mean([3]).reshape(-1, 6)[.., ..4]).reshape(x.shape[0], 3, 2),
                        ("conv", conv),
                        ("head", head)
                    ),
                    [3, 5, 5],
                    [3, 2]
                );
            }

            case "in-place activation":
                return Regression(
                    name,
                    Sequential(
                        nn.Linear(5, 6, dtype: float64),
                        nn.ReLU(inplace: true),
                        nn.Linear(6, 4, dtype: float64),
                        nn.ReLU(inplace: true),
                        nn.Linear(4, 2, dtype: float64)
                    ),
                    [5],
                    [2]
                );
            case "raw parameter":
            {
                var (layer, scale) = (nn.Linear(5, 4, dtype: float64), nn.Parameter(randn(4, dtype: float64)));
                return Regression(name, new Composite(x => layer.call(x) * scale, ("layer", layer)).With("scale", scale), [5], [4]);
            }

            case "weight also used outside":
            {
                var layer = nn.Linear(5, 4, dtype: float64);
                return Regression(name, new Composite(x => layer.call(x) + layer.weight.Squared().sum(), ("layer", layer)), [5], [4]);
            }

            case "frozen weight":
            {
                var layer = nn.Linear(5, 4, dtype: float64);
                layer.weight.requires_grad = false;
                return Regression(name, layer, [5], [4]);
            }

            case "frozen bias":
            {
                var layer = nn.Linear(5, 4, dtype: float64);
                layer.bias!.requires_grad = false;
                return Regression(name, layer, [3, 5], [3, 4]);
            }

            case "cnn with batch norm":
            {
                // 16 outputs: of a float32 convolution with another number of them oneDNN 3.7, which libtorch 2.10 takes on
                // a CPU, reads memory that it never wrote for the gradient of the input.
                var features = Trained(
                    Sequential(
                        nn.Conv2d(1, 4, 3, padding: 1, dtype: float64),
                        nn.BatchNorm2d(4, dtype: float64),
                        nn.ReLU(),
                        nn.MaxPool2d(2),
                        nn.Conv2d(4, 16, 3, padding: 1, dtype: float64),
                        GroupNorm(16),
                        nn.ReLU(),
                        nn.MaxPool2d(2),
                        nn.Flatten(),
                        nn.Linear(64, 3, dtype: float64)
                    ),
                    [8, 1, 8, 8]
                );
                return new ModelCase(
                    name,
                    features,
                    t => Losses.CrossEntropy(features.call(t[0]), t[1]),
                    n => [randn([n, 1, 8, 8], dtype: float64), randint(0, 3, [n])]
                );
            }

            case "attention causal":
                return AttentionCases.Causal().Case();
            case "attention grouped-query rotary padded":
                return AttentionCases.GroupedQuery().Case();
            case "recurrent":
            {
                var (input, hidden, head) = (
                    nn.Linear(3, 4, dtype: float64),
                    nn.Linear(4, 4, dtype: float64),
                    nn.Linear(4, 2, dtype: float64)
                );
                return Regression(
                    name,
                    new Composite(
                        x =>
                        {
                            var h = zeros([x.shape[0], 4], float64);
                            for (var t = 0; t < x.shape[1]; t++)
                            {
                                h = (input.call(x.select(1, t)) + hidden.call(h)).tanh();
                            }

                            return head.call(h);
                        },
                        ("input", input),
                        ("hidden", hidden),
                        ("head", head)
                    ),
                    [6, 3],
                    [2]
                );
            }

            default:
                return LayerCases.Names.Contains(name) ? LayerCases.Build(name) : NativeAttentionCases.Build(name);
        }
    }

    private static nn.Module<Tensor, Tensor> Sequential(params nn.Module<Tensor, Tensor>[] modules) => nn.Sequential(modules);

    internal static ModelCase Regression(string name, nn.Module<Tensor, Tensor> model, long[] input, long[] output) =>
        new(
            name,
            model,
            t => ModelCase.SquaredNorm(model.call(t[0]), t[1]),
            n => [randn([n, .. input], dtype: float64), randn([n, .. output], dtype: float64)]
        );

    internal static ModelCase Convolution(string name, nn.Module<Tensor, Tensor> model, long[] input) =>
        new(
            name,
            model,
            t => (model.call(t[0]) * 0.7).sin().reshape(t[0].shape[0], -1).sum(1),
            n => [randn([n, .. input], dtype: float64)]
        );

    private static ModelCase Tokens(string name, nn.Module<Tensor, Tensor> table) =>
        new(name, table, t => table.call(t[0]).sin().cumsum(1).tanh().reshape(t[0].shape[0], -1).sum(1), n => [randint(0, 11, [n, 7])]);

    /// <summary>TorchSharp leaves a GroupNorm's gain and bias as the memory was.</summary>
    private static TorchSharp.Modules.GroupNorm GroupNorm(long channels = 4)
    {
        var norm = nn.GroupNorm(2, channels, dtype: float64);
        nn.init.normal_(norm.weight);
        nn.init.normal_(norm.bias!);
        return norm;
    }

    /// <summary>Running statistics that are not the initial ones.</summary>
    private static nn.Module<Tensor, Tensor> Trained(nn.Module<Tensor, Tensor> model, long[] shape)
    {
        model.train();
        for (var i = 0; i < 3; i++)
        {
            using var _ = model.call((randn(shape, dtype: float64) * 2) + 1);
        }

        return model;
    }
}
