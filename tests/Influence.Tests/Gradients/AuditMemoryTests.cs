using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Gradients;

/// <summary>
/// A plan is audited once for a task and shape, and confirmed at each call. Whatever changes between two calls on one task, the second
/// call's scores are the loop's, or it is refused.
/// </summary>
public sealed class AuditMemoryTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TorchSharp.Modules.Linear _body;
    private readonly TorchSharp.Modules.Linear _head;
    private readonly Composite _model;
    private readonly Tensor _x;
    private readonly Tensor _y;
    private Func<Tensor, Tensor>? _forward;
    private Func<Tensor, ExampleBatch, Tensor> _then = (losses, _) => losses;
    private int _evaluations;

    public AuditMemoryTests()
    {
        random.manual_seed(7);
        (_body, _head) = (nn.Linear(4, 5, dtype: float64), nn.Linear(5, 3, dtype: float64));
        _model = new Composite(x => _forward?.Invoke(x) ?? _head.call(_body.call(x).tanh()), ("body", _body), ("head", _head));
        _model.eval();
        (_x, _y) = (randn(24, 4, dtype: float64), randint(0, 3, [24]));
    }

    private Examples Data => Examples.FromTensors(("x", _x), ("y", _y)) with { BatchSize = 8 };

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void TheSecondCallAuditsNothing()
    {
        var task = Task();
        Score(task).Dispose();
        var first = _evaluations;
        using var before = Score(task);
        var second = _evaluations - first;
        using var after = Score(Task());

        // 3 batches of queries and 3 of training examples, and two passes that confirm the plan.
        Assert.Equal(8, second);
        Assert.True(first > 2 * second, $"{first} and {second}");
        Assert.Equal(before.Values.data<double>().ToArray(), after.Values.data<double>().ToArray());
        AssertRight(task);
    }

    /// <summary>Each is a switch that the delegate, the same object as before, reads, or something done to the model.</summary>
    [Theory]
    [InlineData("rows in another order")]
    [InlineData("rows of the last batch in another order")]
    [InlineData("a weight past its layer")]
    [InlineData("in-place write")]
    [InlineData("a layer by forward")]
    [InlineData("a layer twice")]
    [InlineData("positions first")]
    [InlineData("a hook")]
    [InlineData("another layer in a place")]
    [InlineData("tied weights")]
    [InlineData("a frozen weight")]
    [InlineData("other weights")]
    [InlineData("other data")]
    [InlineData("other data in place")]
    [InlineData("float32")]
    public void WhatChangesBetweenTwoCalls(string what)
    {
        var task = Task();
        AssertRight(task);
        AssertRight(task);
        HookRemoved? hook = null;
        switch (what)
        {
            case "rows in another order":
                _forward = x => _head.call(_body.call(x.flip(0)).tanh()).flip(0);
                break;
            case "rows of the last batch in another order":
                _forward = x =>
                    x[0].equal(_x[16]).all().item<bool>()
                        ? _head.call(_body.call(x.flip(0)).tanh()).flip(0)
                        : _head.call(_body.call(x).tanh());
                break;
            case "a weight past its layer":
                _then = (losses, b) => losses + (b["x"].select(1, 0) * _head.weight!.Squared().sum());
                break;
            case "in-place write":
                _forward = x => _head.call(_body.call(x).tanh_());
                break;
            case "a layer by forward":
                _forward = x => _head.forward(_body.call(x).tanh());
                break;
            case "a layer twice":
                _forward = x => _head.call(_body.call(x).tanh()) + _head.call(_body.call(x * 2).sin());
                break;
            case "positions first":
                _forward = x => _head.call(_body.call(x.unsqueeze(0).expand(2, x.shape[0], 4)).tanh()).sum([0]);
                break;
            case "a hook":
                hook = new HookRemoved(_body.register_forward_hook((_, _, output) => output * 3).remove);
                break;
            case "another layer in a place":
                var other = nn.Linear(4, 5, dtype: float64);
                _model.register_module("other", other);
                _forward = x => _head.call(other.call(x).tanh() + _body.call(x).tanh());
                break;
            case "tied weights":
                var square = nn.Linear(4, 5, dtype: float64);
                square.weight = _body.weight!;
                _model.register_module("square", square);
                _forward = x => _head.call(_body.call(x).tanh() * square.call(x));
                break;
            case "a frozen weight":
                _head.weight!.requires_grad = false;
                break;
            case "other weights":
                using (no_grad())
                {
                    _body.weight!.mul_(-1.5);
                }

                break;
            case "other data in place":
                _x.copy_(randn(24, 4, dtype: float64));
                break;
            case "float32":
                _model.to(float32);
                break;
        }

        if (what == "other data")
        {
            AssertRight(task, randn(24, 4, dtype: float64), _y);
        }
        else if (what == "float32")
        {
            AssertRight(task, _x.to_type(float32), _y, 1e-4);
        }
        else
        {
            AssertRight(task);
        }

        hook?.Dispose();
    }

    /// <summary>The delegate is the same, and from now on it mixes, is random, or depends on the size of the batch.</summary>
    [Theory]
    [InlineData("mixes")]
    [InlineData("is random")]
    [InlineData("divides by the batch")]
    [InlineData("mixes late rows")]
    public void WhatIsRefusedIsRefusedInTheSecondCall(string what)
    {
        var task = Task();
        AssertRight(task);
        _then = what switch
        {
            "mixes" => (losses, _) => losses / losses.mean().detach(),
            "is random" => (losses, _) => losses * (rand(1, dtype: float64) + 0.5),
            "divides by the batch" => (losses, b) => losses / b.Count,
            _ => (losses, b) => b.Ids[0] < 16 ? losses : losses / losses.mean().detach(),
        };

        var thrown = Assert.Throws<InfluenceException>(() => Score(task));

        Assert.Matches("mixes the examples|is random", thrown.Message);
    }

    /// <summary>The memory holds neither closures nor models: a task whose delegate is gone cannot be mistaken for another.</summary>
    [Fact]
    public void ManyTasksOnOneModel()
    {
        for (var k = 0; k < 12; k++)
        {
            var factor = k + 1.0;
            var task = new InfluenceTask(_model)
            {
                TrainingLoss = b => F.cross_entropy(_model.call(b["x"]), b["y"], reduction: nn.Reduction.None) * factor,
            };
            using var scores = new TracIn().Score(task, Data, Data);
            var g = PlainAutograd.Gradients(_model, task.TrainingLoss, [("x", _x), ("y", _y)]);
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, g.mm(g.t())) < 1e-10);
        }
    }

    private InfluenceTask Task() => new(_model) { TrainingLoss = Loss };

    private Tensor Loss(ExampleBatch b)
    {
        _evaluations++;
        return _then(F.cross_entropy(_model.call(b["x"]), b["y"], reduction: nn.Reduction.None), b);
    }

    private InfluenceScores Score(InfluenceTask task) => new TracIn().Score(task, Data, Data);

    private void AssertRight(InfluenceTask task) => AssertRight(task, _x, _y);

    private void AssertRight(InfluenceTask task, Tensor x, Tensor y, double tolerance = 1e-10)
    {
        var g = PlainAutograd.Gradients(_model, Loss, [("x", x), ("y", y)]).to_type(float64);
        var data = Examples.FromTensors(("x", x), ("y", y)) with { BatchSize = 8 };
        InfluenceScores scores;
        try
        {
            scores = new TracIn().Score(task, data, data);
        }
        catch (InfluenceException exception)
        {
            // Refusing is right too, where the message says why: a layer that no hook sees.
            Assert.Contains("call", exception.Message, StringComparison.Ordinal);
            return;
        }

        using (scores)
        {
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, g.mm(g.t())) < tolerance);
        }
    }

    private sealed class HookRemoved(Action remove) : IDisposable
    {
        public void Dispose() => remove();
    }
}
