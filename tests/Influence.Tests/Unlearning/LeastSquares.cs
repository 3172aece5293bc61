using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Unlearning;

/// <summary>Linear regression in float64, at its optimum: where one Newton step is retraining.</summary>
internal sealed class LeastSquares : IDisposable
{
    public LeastSquares(int examples = 30, int features = 3)
    {
        torch.random.manual_seed(3);
        X = randn([examples, features], dtype: float64);
        Y = randn([examples, 1], dtype: float64);
        Model = nn.Linear(features, 1, hasBias: false, dtype: float64);
        Model.eval();
        Fit([.. Enumerable.Range(0, examples).Select(i => (long)i)]);
    }

    public Tensor X { get; }

    public Tensor Y { get; }

    public TorchSharp.Modules.Linear Model { get; }

    public Examples Train => Examples.FromTensors(("x", X), ("y", Y)) with { BatchSize = 7 };

    public InfluenceTask Task => new(Model) { TrainingLoss = b => 0.5 * Losses.SquaredError(Model.call(b["x"]), b["y"]) };

    public double[] Weights => Model.weight!.detach().reshape(-1).data<double>().ToArray();

    /// <summary>The optimum on some rows, by the normal equations.</summary>
    public double[] Solution(IEnumerable<long> ids)
    {
        using var scope = NewDisposeScope();
        var index = tensor(ids.ToArray());
        var (x, y) = (X.index_select(0, index), Y.index_select(0, index));
        return linalg.solve(x.t().mm(x), x.t().mm(y)).reshape(-1).data<double>().ToArray();
    }

    public void Fit(IReadOnlyList<long> ids) => Set(Solution(ids));

    public void Set(double[] weights)
    {
        using var noGrad = no_grad();
        using var values = tensor(weights).unsqueeze(0);
        Model.weight!.copy_(values);
    }

    /// <summary>The gradient of the mean loss over some rows, by hand.</summary>
    public double[] MeanGradient(IReadOnlyList<long> ids)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var index = tensor(ids.ToArray());
        var (x, y) = (X.index_select(0, index), Y.index_select(0, index));
        return x.t().mm(x.mm(Model.weight!.t()) - y).div(ids.Count).reshape(-1).data<double>().ToArray();
    }

    public void Dispose()
    {
        X.Dispose();
        Y.Dispose();
        Model.Dispose();
    }
}
