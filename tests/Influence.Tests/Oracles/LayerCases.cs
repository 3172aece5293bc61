using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>Models with layers beyond those of a classifier and a decoder: volumes, transposed weights, bags, and native recurrent
/// ones.</summary>
internal static class LayerCases
{
    /// <summary>Those that are taken by a rule whole.</summary>
    public static readonly string[] ByRule =
    [
        "conv3d",
        "conv3d grouped",
        "conv3d same padding even kernel",
        "transposed conv1d",
        "transposed conv1d output padding beyond stride",
        "transposed conv2d",
        "transposed conv2d rectangular",
        "transposed conv2d grouped",
        "transposed conv2d depthwise",
        "transposed conv2d without bias",
        "transposed conv2d frozen weight",
        "transposed conv2d called twice",
        "transposed conv2d merged rows",
        "transposed conv3d",
        "transposed linear",
        "transposed linear over positions",
        "transposed linear without bias",
        "transposed linear called twice",
        "transposed linear sequence first",
        "transposed linear in-place activation",
        "prelu",
        "prelu of channels",
        "prelu called twice",
        "bilinear",
        "bilinear over positions",
        "bilinear called twice",
        "embedding bag sum",
        "embedding bag mean",
        "embedding bag mean with padding index",
        "embedding bag called twice",
    ];

    public static readonly string[] BySingleExamples =
    [
        "transposed conv2d with output size",
        "embedding bag max",
        "embedding bag by offsets",
        "embedding bag with weights",
        "lstm",
        "gru",
        "rnn",
        "lstm cell",
        "gru cell",
        "rnn cell",
        "weight norm",
        "native decoder layer",
        "native decoder",
    ];

    public static readonly string[] Names = [.. ByRule, .. BySingleExamples];

    public static ModelCase Build(string name)
    {
        switch (name)
        {
            case "conv3d":
                return Cases.Convolution(name, nn.Conv3d(2, 3, (2, 3, 2), (1, 2, 1), (1, 0, 1), (1, 1, 2), dtype: float64), [2, 3, 6, 5]);
            case "conv3d grouped":
                return Cases.Convolution(name, nn.Conv3d(4, 6, 2, groups: 2, dtype: float64), [4, 3, 4, 3]);
            case "conv3d same padding even kernel":
                return Cases.Convolution(name, nn.Conv3d(1, 2, 2, padding: Padding.Same, dtype: float64), [1, 3, 4, 3]);
            case "transposed conv1d":
                return Cases.Convolution(
                    name,
                    nn.ConvTranspose1d(2, 3, 3, stride: 2, padding: 1, output_padding: 1, dtype: float64),
                    [2, 6]
                );
            case "transposed conv1d output padding beyond stride":
                return Cases.Convolution(
                    name,
                    nn.ConvTranspose1d(2, 3, 3, stride: 1, output_padding: 1, dilation: 2, dtype: float64),
                    [2, 5]
                );
            case "transposed conv2d":
                return Cases.Convolution(
                    name,
                    Sequential(
                        nn.Conv2d(1, 2, 3, dtype: float64),
                        nn.Tanh(),
                        nn.ConvTranspose2d(2, 3, 3, stride: 2, padding: 1, dtype: float64)
                    ),
                    [1, 6, 5]
                );
            case "transposed conv2d rectangular":
                return Cases.Convolution(name, nn.ConvTranspose2d(2, 3, (3, 2), (2, 1), (1, 0), (1, 0), (1, 2), dtype: float64), [2, 4, 5]);
            case "transposed conv2d grouped":
                return Cases.Convolution(
                    name,
                    nn.ConvTranspose2d(4, 6, 3, stride: 2, output_padding: 1, groups: 2, dtype: float64),
                    [4, 3, 4]
                );
            case "transposed conv2d depthwise":
                return Cases.Convolution(name, nn.ConvTranspose2d(3, 3, 2, stride: 2, groups: 3, bias: false, dtype: float64), [3, 3, 3]);
            case "transposed conv2d without bias":
                return Cases.Convolution(name, nn.ConvTranspose2d(2, 3, 2, bias: false, dtype: float64), [2, 4, 3]);
            case "transposed conv2d frozen weight":
            {
                var conv = nn.ConvTranspose2d(2, 3, 2, dtype: float64);
                conv.weight.requires_grad = false;
                return Cases.Convolution(name, conv, [2, 4, 3]);
            }

            case "transposed conv2d called twice":
            {
                var conv = nn.ConvTranspose2d(2, 2, 3, padding: 1, dtype: float64);
                return Cases.Convolution(name, new Composite(x => conv.call(conv.call(x).tanh()), ("conv", conv)), [2, 4, 4]);
            }

            case "transposed conv2d merged rows":
            {
                var conv = nn.ConvTranspose2d(1, 2, 2, stride: 2, dtype: float64);
                return Cases.Convolution(
                    name,
                    new Composite(x => conv.call(x.reshape(-1, 1, 3, 3)).reshape(x.shape[0], -1), ("conv", conv)),
                    [4, 3, 3]
                );
            }

            case "transposed conv2d with output size":
            {
                var conv = nn.ConvTranspose2d(2, 3, 3, stride: 2, dtype: float64);
                return Cases.Convolution(name, new Composite(x => conv.forward(x, [8, 10]), ("conv", conv)), [2, 3, 4]);
            }

            case "transposed conv3d":
                return Cases.Convolution(name, nn.ConvTranspose3d(2, 2, 2, stride: 2, dtype: float64), [2, 2, 3, 2]);
            case "transposed linear":
                return Cases.Regression(name, Linear(5, 3), [5], [3]);
            case "transposed linear over positions":
                return Cases.Regression(name, Sequential(Linear(5, 6), nn.Tanh(), Linear(6, 3)), [4, 5], [4, 3]);
            case "transposed linear without bias":
                return Cases.Regression(name, Linear(5, 3, hasBias: false), [4, 5], [4, 3]);
            case "transposed linear called twice":
            {
                var layer = Linear(5, 5);
                return Cases.Regression(name, new Composite(x => layer.call(layer.call(x).tanh()), ("layer", layer)), [3, 5], [3, 5]);
            }

            case "transposed linear sequence first":
            {
                var layer = Linear(5, 2);
                return Cases.Regression(
                    name,
                    new Composite(x => layer.call(x.transpose(0, 1)).transpose(0, 1), ("layer", layer)),
                    [3, 5],
                    [3, 2]
                );
            }

            case "transposed linear in-place activation":
                return Cases.Regression(
                    name,
                    Sequential(Linear(5, 6), nn.ReLU(inplace: true), Linear(6, 2), nn.ReLU(inplace: true)),
                    [3, 5],
                    [3, 2]
                );
            case "prelu":
                return Cases.Regression(
                    name,
                    Sequential(nn.Linear(5, 6, dtype: float64), nn.PReLU(1, 0.3, dtype: float64), nn.Linear(6, 2, dtype: float64)),
                    [3, 5],
                    [3, 2]
                );
            case "prelu of channels":
                return Cases.Convolution(name, Sequential(nn.Conv2d(1, 3, 2, dtype: float64), nn.PReLU(3, 0.3, dtype: float64)), [1, 4, 4]);
            case "prelu called twice":
            {
                var (layer, slope) = (nn.Linear(5, 5, dtype: float64), nn.PReLU(5, 0.3, dtype: float64));
                return Cases.Regression(
                    name,
                    new Composite(x => slope.call(layer.call(slope.call(x)) - 0.2), ("layer", layer), ("slope", slope)),
                    [5],
                    [5]
                );
            }

            case "bilinear":
            case "bilinear over positions":
            {
                var (first, pair) = (nn.Linear(5, 5, dtype: float64), nn.Bilinear(3, 2, 4, dtype: float64));
                long[] positions = name == "bilinear" ? [] : [3];
                return Cases.Regression(
                    name,
                    new Composite(
                        x =>
                        {
                            var y = first.call(x).tanh();
                            return pair.call(y.narrow(-1, 0, 3), y.narrow(-1, 3, 2));
                        },
                        ("first", first),
                        ("pair", pair)
                    ),
                    [.. positions, 5],
                    [.. positions, 4]
                );
            }

            case "bilinear called twice":
            {
                var pair = nn.Bilinear(3, 3, 3, hasBias: false, dtype: float64);
                return Cases.Regression(name, new Composite(x => pair.call(pair.call(x, x).tanh(), x), ("pair", pair)), [3], [3]);
            }

            case "embedding bag sum":
                return Bags(name, nn.EmbeddingBag(11, 4, mode: EmbeddingBagMode.Sum, dtype: float64), (bag, x) => bag.call(x));
            case "embedding bag mean":
                return Bags(name, nn.EmbeddingBag(11, 4, mode: EmbeddingBagMode.Mean, dtype: float64), (bag, x) => bag.call(x));
            case "embedding bag mean with padding index":
                return Bags(
                    name,
                    nn.EmbeddingBag(11, 4, mode: EmbeddingBagMode.Mean, padding_index: 3, dtype: float64),
                    (bag, x) => bag.call(x)
                );
            case "embedding bag called twice":
                return Bags(
                    name,
                    nn.EmbeddingBag(11, 4, mode: EmbeddingBagMode.Sum, dtype: float64),
                    (bag, x) => bag.call(x.narrow(1, 0, 3)) * bag.call(x.narrow(1, 3, 4)).sin()
                );
            case "embedding bag max":
                return Bags(name, nn.EmbeddingBag(11, 4, mode: EmbeddingBagMode.Max, dtype: float64), (bag, x) => bag.call(x));
            case "embedding bag by offsets":
                return Bags(
                    name,
                    nn.EmbeddingBag(11, 4, mode: EmbeddingBagMode.Sum, dtype: float64),
                    (bag, x) => bag.call(x.reshape(-1), arange(0, x.shape[0] * 7, 7, ScalarType.Int64))
                );
            case "embedding bag with weights":
                return Bags(
                    name,
                    nn.EmbeddingBag(11, 4, mode: EmbeddingBagMode.Sum, dtype: float64),
                    (bag, x) => bag.call(x, null!, (x.to_type(bag.weight!.dtype) * 0.1).cos())
                );
            case "lstm":
            {
                var (layer, head) = (nn.LSTM(3, 4, batchFirst: true, dtype: float64), nn.Linear(4, 2, dtype: float64));
                return Cases.Regression(
                    name,
                    new Composite(x => head.call(layer.call(x).Item1.select(1, -1)), ("layer", layer), ("head", head)),
                    [5, 3],
                    [2]
                );
            }

            case "gru":
            {
                var (layer, head) = (nn.GRU(3, 4, bidirectional: true, dtype: float64), nn.Linear(8, 2, dtype: float64));
                return Cases.Regression(
                    name,
                    new Composite(x => head.call(layer.call(x.transpose(0, 1)).Item1.sum(0L)), ("layer", layer), ("head", head)),
                    [5, 3],
                    [2]
                );
            }

            case "rnn":
            {
                var (layer, head) = (nn.RNN(3, 4, numLayers: 2, batchFirst: true, dtype: float64), nn.Linear(4, 2, dtype: float64));
                return Cases.Regression(
                    name,
                    new Composite(x => head.call(layer.call(x).Item1.select(1, -1)), ("layer", layer), ("head", head)),
                    [5, 3],
                    [2]
                );
            }

            case "lstm cell":
            {
                var (cell, head) = (nn.LSTMCell(3, 4, dtype: float64), nn.Linear(4, 2, dtype: float64));
                return Steps(
                    name,
                    cell,
                    head,
                    x =>
                    {
                        var (h, c) = cell.call(x.select(1, 0), (NoState(x), NoState(x)));
                        return head.call(cell.call(x.select(1, 1), (h, c)).Item1);
                    }
                );
            }

            case "gru cell":
            {
                var (cell, head) = (nn.GRUCell(3, 4, dtype: float64), nn.Linear(4, 2, dtype: float64));
                return Steps(name, cell, head, x => head.call(cell.call(x.select(1, 1), cell.call(x.select(1, 0), NoState(x)))));
            }

            case "rnn cell":
            {
                var (cell, head) = (nn.RNNCell(3, 4, dtype: float64), nn.Linear(4, 2, dtype: float64));
                return Steps(name, cell, head, x => head.call(cell.call(x.select(1, 1), cell.call(x.select(1, 0), NoState(x)))));
            }

            case "weight norm":
            {
                // TorchSharp has none; this is what it is: a direction for each output, and its length.
                var head = nn.Linear(4, 2, dtype: float64);
                Composite? model = null;
                model = new Composite(
                    x =>
                    {
                        var (direction, length) = (model!.get_parameter("direction")!, model.get_parameter("length")!);
                        var weight = direction * (length / (direction * direction).sum(1, keepdim: true).sqrt());
                        return head.call(nn.functional.linear(x, weight).tanh());
                    },
                    ("head", head)
                );
                model.With("direction", nn.Parameter(randn([4, 5], dtype: float64)));
                model.With("length", nn.Parameter(rand([4, 1], dtype: float64) + 0.5));
                return Cases.Regression(name, model, [5], [2]);
            }

            case "native decoder":
            {
                var (first, head) = (nn.Linear(5, 6, dtype: float64), nn.Linear(6, 2, dtype: float64));
                var decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 2, 8), 2).to(float64);
                return Cases.Regression(
                    name,
                    new Composite(
                        x =>
                        {
                            var y = first.call(x).transpose(0, 1);
                            return head.call(decoder.call(y.narrow(0, 0, 2), y)).transpose(0, 1);
                        },
                        ("first", first),
                        ("layer", decoder),
                        ("head", head)
                    ),
                    [4, 5],
                    [2, 2]
                );
            }

            case "native decoder layer":
            {
                var (first, layer, head) = (
                    nn.Linear(5, 6, dtype: float64),
                    nn.TransformerDecoderLayer(6, 2, 8).to(float64),
                    nn.Linear(6, 2, dtype: float64)
                );
                return Cases.Regression(
                    name,
                    new Composite(
                        x =>
                        {
                            var y = first.call(x).transpose(0, 1);
                            return head.call(layer.call(y.narrow(0, 0, 2), y)).transpose(0, 1);
                        },
                        ("first", first),
                        ("layer", layer),
                        ("head", head)
                    ),
                    [4, 5],
                    [2, 2]
                );
            }

            default:
                throw new ArgumentException(name);
        }
    }

    private static Tensor NoState(Tensor x) => zeros([x.shape[0], 4], x.dtype);

    /// <summary>Sequences that are read by a cell.</summary>
    private static ModelCase Steps(string name, nn.Module cell, nn.Module head, Func<Tensor, Tensor> forward) =>
        Cases.Regression(name, new Composite(forward, ("cell", cell), ("head", head)), [4, 3], [2]);

    private static nn.Module<Tensor, Tensor> Sequential(params nn.Module<Tensor, Tensor>[] modules) => nn.Sequential(modules);

    /// <summary>Weights of a size that gradients have something of.</summary>
    private static TransposedLinear Linear(long inputs, long outputs, bool hasBias = true)
    {
        var layer = new TransposedLinear(inputs, outputs, hasBias, dtype: float64);
        nn.init.normal_(layer.get_parameter("weight")!, 0, 0.5);
        return layer;
    }

    private static ModelCase Bags(
        string name,
        TorchSharp.Modules.EmbeddingBag bag,
        Func<TorchSharp.Modules.EmbeddingBag, Tensor, Tensor> use
    )
    {
        var model = new Composite(x => use(bag, x), ("bag", bag));
        return new ModelCase(name, model, t => model.call(t[0]).sin().cumsum(1).tanh().sum(1), n => [randint(0, 11, [n, 7])]);
    }
}
