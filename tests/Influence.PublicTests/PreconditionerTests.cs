using Influence.Curvature;
using Influence.Estimators;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.PublicTests;

/// <summary>A preconditioner of one's own, written by the public documentation alone.</summary>
public class PreconditionerTests
{
    private readonly nn.Module<Tensor, Tensor> _model;
    private readonly InfluenceTask _task;
    private readonly Examples _train;

    public PreconditionerTests()
    {
        manual_seed(5);
        var model = nn.Sequential(nn.Linear(3, 4, dtype: ScalarType.Float64), nn.Tanh(), nn.Linear(4, 2, dtype: ScalarType.Float64));
        _model = model;
        _model.eval();
        _task = new InfluenceTask(model)
        {
            TrainingLoss = b => nn.functional.cross_entropy(model.call(b["x"]), b["y"], reduction: nn.Reduction.None),
        };
        _train = Examples.FromTensors(("x", randn(6, 3, dtype: ScalarType.Float64)), ("y", tensor(new long[] { 0, 1, 1, 0, 1, 0 }))) with
        {
            BatchSize = 4,
        };
    }

    /// <summary>With H = 2 I and a damping of 0.5, scores are gradient dot products over 2.5; with one of 1 over 3.</summary>
    [Fact]
    public void ScoresGoByTheInverse()
    {
        using var scope = NewDisposeScope();
        using var dots = new TracIn().Score(_task, _train, _train.Only([1, 2]));
        using var fit = new ScaledIdentity(_task, _train, curvature: 2);
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(_task, _train, _train.Only([1, 2]));
        using var damped = new InfluenceFunction(fit) { Tolerance = 0, Damping = Damping.Absolute(1) }.Score(
            _task,
            _train,
            _train.Only([1, 2])
        );

        Assert.True((scores.Values - (dots.Values / 2.5)).abs().max().item<double>() < 1e-13);
        Assert.True((damped.Values - (dots.Values / 3)).abs().max().item<double>() < 1e-13);
        Assert.Contains("scaled identity", scores.Metadata.Estimator, StringComparison.Ordinal);
        var own = new InfluenceFunction(fit).SelfInfluence(_task, _train);
        Assert.Equal(new TracIn().SelfInfluence(_task, _train)[0] / 2.5, own[0], 1e-13);
    }

    /// <summary>What a mistake in Apply would do is said by name, and so are other weights than those of the fit.</summary>
    [Fact]
    public void MistakesAreToldByName()
    {
        using var scope = NewDisposeScope();
        using var forgetful = new ScaledIdentity(_task, _train, curvature: 2) { Forgets = "2.bias" };
        Assert.Contains("\"2.bias\"", Assert.Throws<InfluenceException>(() => Score(forgetful)).Message, StringComparison.Ordinal);

        using var fit = new ScaledIdentity(_task, _train, curvature: 2);
        using (no_grad())
        {
            _model.get_parameter("2.bias")!.add_(1);
        }

        Assert.Contains("fitted at other weights", Assert.Throws<InfluenceException>(() => Score(fit)).Message, StringComparison.Ordinal);
    }

    private void Score(Preconditioner fit) => new InfluenceFunction(fit).Score(_task, _train, _train.Only([1])).Dispose();
}
