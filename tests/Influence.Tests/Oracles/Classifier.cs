using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>A small classifier in float64 with training examples and queries: what most tests need.</summary>
internal sealed class Classifier : IDisposable
{
    public const int Features = 4;
    public const int Classes = 3;

    public Classifier(int train = 11, int queries = 4, ScalarType dtype = ScalarType.Float64)
    {
        torch.random.manual_seed(17);
        Hidden = nn.Linear(Features, 6, dtype: dtype);
        Head = nn.Linear(6, Classes, dtype: dtype);
        Model = new Composite(x => Head.call(Hidden.call(x).tanh()), ("hidden", Hidden), ("head", Head));
        Model.eval();
        X = randn([train, Features], dtype: dtype);
        Y = randint(0, Classes, [train]);
        QueryX = randn([queries, Features], dtype: dtype);
        QueryY = randint(0, Classes, [queries]);
    }

    public TorchSharp.Modules.Linear Hidden { get; }

    public TorchSharp.Modules.Linear Head { get; }

    public Composite Model { get; }

    public Tensor X { get; }

    public Tensor Y { get; }

    public Tensor QueryX { get; }

    public Tensor QueryY { get; }

    public Examples Train => Examples.FromTensors(("x", X), ("y", Y));

    public Examples Queries => Examples.FromTensors(("x", QueryX), ("y", QueryY));

    public Tensor Loss(ExampleBatch batch) => Losses.CrossEntropy(Model.call(batch["x"]), batch["y"]);

    public InfluenceTask Task() => Task(Loss);

    public InfluenceTask Task(Func<ExampleBatch, Tensor> loss) => new(Model) { TrainingLoss = loss };

    /// <summary>Gradients of the training examples by the loop, <c>[N, P]</c>.</summary>
    public Tensor TrainGradients(Func<string, bool>? include = null) => SingleExampleLoop.Gradients(Model, PlainLoss, [X, Y], include);

    /// <summary>Gradients of the queries by the loop, <c>[Q, P]</c>.</summary>
    public Tensor QueryGradients(Func<string, bool>? include = null) =>
        SingleExampleLoop.Gradients(Model, PlainLoss, [QueryX, QueryY], include);

    public Tensor PlainLoss(Tensor[] inputs) => nn.functional.cross_entropy(Model.call(inputs[0]), inputs[1], reduction: nn.Reduction.None);

    public void Dispose()
    {
        Model.Dispose();
        Hidden.Dispose();
        Head.Dispose();
        foreach (var tensor in new[] { X, Y, QueryX, QueryY })
        {
            tensor.Dispose();
        }
    }
}

/// <summary>Reports at once, on the calling thread.</summary>
internal sealed class Reports(Action<InfluenceProgress>? then = null) : IProgress<InfluenceProgress>
{
    public List<InfluenceProgress> All { get; } = [];

    public void Report(InfluenceProgress value)
    {
        All.Add(value);
        then?.Invoke(value);
    }
}
