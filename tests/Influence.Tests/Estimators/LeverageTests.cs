using Influence.Curvature;
using Influence.Estimators;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Rescaled influence: leverage against x' (X'X)^-1 x, and scores against leaving out, both in closed form.</summary>
public sealed class LeverageTests : IDisposable
{
    private const int Draws = 500;
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>
    /// Least squares, where 1/(1 - h) is exact. The labels' squares have a relative standard deviation of sqrt(2 / 500) = 6 percent: four
    /// of them are the room for h, and what 1/(1 - h) makes of that the room for scores.
    /// </summary>
    [Fact]
    public void LeastSquares()
    {
        random.manual_seed(9);
        var (x, truth) = (randn([12, 3], dtype: float64), randn(3, dtype: float64));
        x[0] *= 4;
        var y = x.mv(truth) + (randn(12, dtype: float64) * 0.5);
        var (queryX, queryY) = (randn([4, 3], dtype: float64), randn(4, dtype: float64));
        using var layer = nn.Linear(3, 1, hasBias: false, dtype: float64);
        layer.eval();
        using (no_grad())
        {
            layer.weight.copy_(Solve(x, y).unsqueeze(0));
        }

        var task = new InfluenceTask(layer) { TrainingLoss = b => Losses.SquaredError(layer.call(b["x"]).squeeze(1), b["y"]) };
        var (train, queries) = (Examples.FromTensors(("x", x), ("y", y)), Examples.FromTensors(("x", queryX), ("y", queryY)));
        using var dense = DenseCurvature.Fit(task, train, new() { Damping = Damping.Absolute(0) });
        var function = new InfluenceFunction(dense)
        {
            LeverageDraws = Draws,
            Normalization = InfluenceFunction.ScoreNormalization.Leverage,
        };

        var hat = (x.mm(linalg.inv(x.t().mm(x))) * x).sum(1).data<double>().ToArray();
        var leverage = function.Leverage(task, train);
        for (var i = 0; i < 12; i++)
        {
            Assert.True(
                Math.Abs(leverage.Values[i] - hat[i]) < 4 * hat[i] * Math.Sqrt(2.0 / Draws),
                $"{leverage.Values[i]} against {hat[i]}"
            );
        }

        Assert.Equal(3, leverage.Values.Sum(), 0.35);
        using var plain = (function with { Normalization = InfluenceFunction.ScoreNormalization.None }).Score(task, train, queries);
        using var rescaled = function.Score(task, train, queries);
        Assert.Equal(1 / 12.0, rescaled.Metadata.LeaveOneOutFactor);
        Assert.Contains("with its leverage", rescaled.Metadata.Unit, StringComparison.Ordinal);
        for (var i = 0; i < 12; i++)
        {
            // The gradient of the query's loss along the weights' change: exact for a least-squares fit without the example.
            var kept = Enumerable.Range(0, 12).Where(k => k != i).Select(k => (long)k).ToArray();
            var moved = Solve(x[tensor(kept)], y[tensor(kept)]) - layer.weight.detach().squeeze(0);
            for (var q = 0; q < 4; q++)
            {
                var error = layer.call(queryX.narrow(0, q, 1)).item<double>() - queryY[q].item<double>();
                var scale = Loss() * error * queryX[q].dot(moved).item<double>();
                Assert.Equal(1 / (1 - leverage.Values[i]), rescaled[q, i] / plain[q, i], 1e-9);
                Assert.Equal(scale, plain[q, i] / 12 / (1 - hat[i]), 1e-9);
            }
        }

        // What Losses.SquaredError is the derivative of: r^2, or r^2 / 2.
        double Loss() => Losses.SquaredError(tensor(new[] { 2.0 }), tensor(new[] { 0.0 })).item<double>() / 2;
        static Tensor Solve(Tensor a, Tensor b) => linalg.solve(a.t().mm(a), a.t().mv(b));
    }

    /// <summary>Logistic regression: the leverage is p (1 - p) x' (X' W X)^-1 x, in which the example's own label has no part.</summary>
    [Fact]
    public void LogisticRegression()
    {
        random.manual_seed(2);
        var (x, y) = (randn([20, 2], dtype: float64), randint(0, 2, [20]).to_type(ScalarType.Float64));
        using var layer = nn.Linear(2, 1, hasBias: false, dtype: float64);
        layer.eval();
        var task = new InfluenceTask(layer) { TrainingLoss = b => Losses.BinaryCrossEntropy(layer.call(b["x"]).squeeze(1), b["y"]) };
        var train = Examples.FromTensors(("x", x), ("y", y));
        using var dense = DenseCurvature.Fit(task, train, new() { Damping = Damping.Absolute(0) });
        var leverage = new InfluenceFunction(dense) { LeverageDraws = Draws }.Leverage(task, train);

        var p = layer.call(x).squeeze(1).sigmoid().detach();
        var w = p * (1 - p);
        var expected = (w * (x.mm(linalg.inv((x * w.unsqueeze(1)).t().mm(x))) * x).sum(1)).data<double>().ToArray();
        for (var i = 0; i < 20; i++)
        {
            // A Bernoulli label's square has a smaller spread than a normal one's as long as p is not near 0 or 1.
            Assert.True(
                Math.Abs(leverage.Values[i] - expected[i]) < 5 * expected[i] * Math.Sqrt(2.0 / Draws),
                $"{leverage.Values[i]} against {expected[i]}"
            );
        }
    }
}
