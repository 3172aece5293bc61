using Influence.Curvature;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>A small model whose linear layers can be traced, with a loss and random examples; float64.</summary>
internal sealed record TracedModel(string Name, LayerTrace Trace, Composite Model, Func<Tensor[], Tensor> Loss, Func<long, Tensor[]> Inputs)
{
    public static readonly string[] Names = ["mlp", "convolutions", "attention"];

    public static TracedModel Make(string name)
    {
        random.manual_seed(Array.IndexOf(Names, name) + 101);
        var made = name switch
        {
            "mlp" => Mlp(),
            "convolutions" => Convolutions(),
            _ => Attention(),
        };
        made.Model.eval();
        return made;
    }

    public InfluenceTask Task(LayerSelection? layers = null) =>
        new(Model)
        {
            TrainingLoss = b => Loss([.. Enumerable.Range(0, b.Names.Count).Select(i => b[i])]),
            Layers = layers ?? LayerSelection.All,
        };

    public ModelCase Case() => new(Name, Model, Loss, Inputs);

    /// <summary>The examples of a batch one by one.</summary>
    public static List<Tensor[]> One(Tensor[] inputs) =>
        [.. Enumerable.Range(0, (int)inputs[0].shape[0]).Select(i => inputs.Select(t => t.narrow(0, i, 1)).ToArray())];

    public KroneckerOracle Oracle(
        Tensor[] inputs,
        Func<string, (long[]? A, long[]? S)>? blocks = null,
        Ekfac.FactorKind factors = Ekfac.FactorKind.Kfac
    ) => new(Trace, Model, Loss, One(inputs), blocks, factors);

    private static TracedModel Mlp()
    {
        var trace = new LayerTrace();
        var (first, second) = (nn.Linear(5, 6, dtype: float64), nn.Linear(6, 3, dtype: float64));
        var model = new Composite(
            x => trace.Call("second", second, trace.Call("first", first, x).tanh()),
            ("first", first),
            ("second", second)
        );
        return new TracedModel(
            "mlp",
            trace,
            model,
            t => Losses.CrossEntropy(model.call(t[0]), t[1]),
            n => [randn([n, 5], dtype: float64), randint(0, 3, [n])]
        );
    }

    private static TracedModel Convolutions()
    {
        var trace = new LayerTrace();
        var first = nn.Conv2d(1, 3, 3, padding: 1, dtype: float64);
        var second = nn.Conv2d(3, 2, 3, stride: 2, padding: 1, bias: false, dtype: float64);
        var head = nn.Linear(18, 3, dtype: float64);
        var model = new Composite(
            x => trace.Call("head", head, trace.Call("second", second, trace.Call("first", first, x).tanh()).tanh().flatten(1)),
            ("first", first),
            ("second", second),
            ("head", head)
        );
        return new TracedModel(
            "convolutions",
            trace,
            model,
            t => Losses.CrossEntropy(model.call(t[0]), t[1]),
            n => [randn([n, 1, 6, 6], dtype: float64), randint(0, 3, [n])]
        );
    }

    /// <summary>One attention layer of width 4 with two heads, over three positions, with a residual connection and a head.</summary>
    private static TracedModel Attention()
    {
        var trace = new LayerTrace();
        var (q, k, v, o) = (Projection(), Projection(), Projection(), Projection());
        var head = nn.Linear(4, 3, dtype: float64);
        var model = new Composite(
            x =>
            {
                var (b, t) = (x.shape[0], x.shape[1]);
                Tensor Heads(Tensor y) => y.reshape(b, t, 2, 2).transpose(1, 2); // [B, H, T, d]
                var (queries, keys, values) = (Heads(trace.Call("q", q, x)), Heads(trace.Call("k", k, x)), Heads(trace.Call("v", v, x)));
                var weights = (queries.matmul(keys.transpose(2, 3)) / Math.Sqrt(2)).softmax(-1);
                var mixed = weights.matmul(values).transpose(1, 2).reshape(b, t, 4);
                return trace.Call("head", head, x + trace.Call("o", o, mixed));
            },
            ("q", q),
            ("k", k),
            ("v", v),
            ("o", o),
            ("head", head)
        );
        return new TracedModel(
            "attention",
            trace,
            model,
            t => Losses.CrossEntropy(model.call(t[0]), t[1]),
            n => [randn([n, 3, 4], dtype: float64), randint(0, 3, [n, 3])]
        );

        static TorchSharp.Modules.Linear Projection() => nn.Linear(4, 4, dtype: float64);
    }
}
