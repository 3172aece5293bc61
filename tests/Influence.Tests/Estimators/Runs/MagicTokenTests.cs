using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>The adjoint of a run by loss tokens, against runs with one token's weight changed.</summary>
public sealed class MagicTokenTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Composite _model;
    private readonly Tensor _x;
    private readonly Tensor _y;
    private readonly Tensor _w;

    public MagicTokenTests()
    {
        random.manual_seed(11);
        var (first, head) = (nn.Linear(3, 4, dtype: float64), nn.Linear(4, 1, dtype: float64));
        _model = new Composite(x => head.call(first.call(x).tanh().cumsum(1).sin()).squeeze(2), ("first", first), ("head", head));
        _model.eval();
        (_x, _y, _w) = (randn([7, 4, 3], dtype: float64), randn([7, 4], dtype: float64), ones([7, 4], dtype: float64));

        // Two positions of padding.
        _w[2, 3] = 0;
        _w[2, 2] = 0;
    }

    public void Dispose() => _scope.Dispose();

    [Theory]
    [InlineData(true, null)]
    [InlineData(true, 0.3)]
    [InlineData(false, null)]
    public void ScoresAreDerivativesOfRetraining(bool adam, double? clip)
    {
        var run = Run(adam) with { ClipNorm = clip };
        var (train, queries) = (Examples(_w), Queries());
        var before = Weights();
        using var tokens = run.ScoreLossTokens(Task(), train, queries, TokenLosses);
        using var scores = run.Score(Task(), train, queries);
        Assert.Equal(before, Weights());
        Assert.Equal([1, 6, 4], tokens.Values.shape);

        // Sums of the same passes' losses.
        Assert.Equal(0, (tokens.Values.sum(2) - scores.Values).abs().max().item<double>(), 1e-9);
        Assert.Equal([0.0, 0.0], tokens.For(0, 2)[2..]);
        Assert.Contains("per loss token", tokens.Metadata.Estimator, StringComparison.Ordinal);
        foreach (var (id, t) in new[] { (0, 0), (0, 3), (3, 1), (4, 2), (2, 1) })
        {
            // Adam bends sharply where a first gradient is small: at 1e-4 the difference itself is wrong in the fourth digit.
            var expected = -(Measured(id, t, 1e-6) - Measured(id, t, -1e-6)) / 2e-6;
            Assert.Equal(expected, tokens.For(0, id)[t], 1e-7);
        }

        double Measured(int id, int t, double h)
        {
            var changed = _w.clone();
            changed[id, t] = _w[id, t] * (1 + h);
            var end = run.FinalWeights(Task(), Examples(changed));
            using var noGrad = no_grad();
            var start = 0;
            foreach (var p in _model.parameters())
            {
                var n = (int)p.numel();
                p.copy_(tensor(end[start..(start + n)]).reshape(p.shape));
                start += n;
            }

            var query = ExampleBatch.Of([0], ("x", _x.narrow(0, 6, 1)), ("y", _y.narrow(0, 6, 1)), ("w", _w.narrow(0, 6, 1)));
            var value = Task().TrainingLoss(query).item<double>();
            foreach (var (p, old) in _model.state_dict().Values.Zip(before))
            {
                p.copy_(tensor(old).reshape(p.shape));
            }

            return value;
        }
    }

    /// <summary>With the Fisher matrix in the Hessian's place tokens still sum to their example: differences of losses against products of
    /// gradients.</summary>
    [Fact]
    public void TokensSumToTheirExampleByTheFisherMatrixToo()
    {
        var run = Run(true) with { Curvature = Magic.Approximation.EmpiricalFisher };
        var (train, queries) = (Examples(_w) with { BatchSize = 2 }, Queries());
        using var tokens = run.ScoreLossTokens(Task(), train, queries, TokenLosses);
        using var scores = run.Score(Task(), train, queries);
        Assert.Equal(0, (tokens.Values.sum(2) - scores.Values).abs().max().item<double>(), 1e-9);
    }

    [Fact]
    public void WhatDoesNotFitIsRefused()
    {
        var (train, queries) = (Examples(_w), Queries());
        Refused("sum to the training loss", b => TokenLosses(b) * 2, Task());
        Refused("[B, T]", b => TokenLosses(b).sum(1), Task());
        Refused("PositionMask", TokenLosses, Task() with { PositionMask = b => b["w"] });

        void Refused(string told, Func<ExampleBatch, Tensor> tokenLosses, InfluenceTask task)
        {
            var before = Weights();
            var thrown = Assert.Throws<InfluenceException>(() => Run(true).ScoreLossTokens(task, train, queries, tokenLosses));
            Assert.Contains(told, thrown.Message, StringComparison.Ordinal);
            Assert.Equal(before, Weights());
        }
    }

    private static Magic Run(bool adam) =>
        new()
        {
            Batches =
            [
                [0, 1, 2],
                [3, 4],
                [0, 4, 2],
                [1, 3],
            ],
            LearningRates = [0.05],
            Update = adam ? new Magic.AdamW { Beta2 = 0.99, WeightDecay = 0.1 } : new Magic.Sgd { Momentum = 0.9, WeightDecay = 0.01 },
        };

    private InfluenceTask Task() => new(_model) { TrainingLoss = b => TokenLosses(b).sum(1) };

    private Tensor TokenLosses(ExampleBatch b) => (_model.call(b["x"]) - b["y"]).Squared() * b["w"];

    /// <summary>The last is visited by no step.</summary>
    private Examples Examples(Tensor weights) =>
        Influence.Examples.FromTensors(("x", _x.narrow(0, 0, 6)), ("y", _y.narrow(0, 0, 6)), ("w", weights.narrow(0, 0, 6)));

    private Examples Queries() =>
        Influence.Examples.FromTensors(("x", _x.narrow(0, 6, 1)), ("y", _y.narrow(0, 6, 1)), ("w", _w.narrow(0, 6, 1)));

    private List<double[]> Weights() => [.. _model.state_dict().Values.Select(v => v.data<double>().ToArray())];
}
