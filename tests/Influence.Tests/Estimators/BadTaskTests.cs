using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Models and losses whose per-example gradients have no meaning: refused before anything is scored, with the line to
/// write.</summary>
public sealed class BadTaskTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _scope.Dispose();
    }

    [Fact]
    public void ALossThatIsReduced()
    {
        foreach (var loss in new Func<ExampleBatch, Tensor>[] { b => _c.Loss(b).mean(), b => _c.Loss(b).sum() })
        {
            var thrown = Refused(_c.Task(loss));
            Assert.Contains("a scalar", thrown.Message, StringComparison.Ordinal);
            Assert.Contains("Reduction.None", thrown.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void ALossOfAnotherShape()
    {
        Assert.Contains($"[{_c.Train.Count}, 1]", Refused(_c.Task(b => _c.Loss(b).unsqueeze(1))).Message, StringComparison.Ordinal);
        Assert.Contains($"[{2 * _c.Train.Count}]", Refused(_c.Task(b => _c.Loss(b).repeat(2))).Message, StringComparison.Ordinal);
        Assert.Contains("Int64", Refused(_c.Task(b => b["y"])).Message, StringComparison.Ordinal);
        Assert.Contains("null", Refused(_c.Task(_ => null!)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AMeasurementThatIsReduced()
    {
        var thrown = Refused(new InfluenceTask(_c.Model) { TrainingLoss = _c.Loss, Measurement = b => _c.Loss(b).mean() });
        Assert.Contains("Measurement", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("a scalar", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ALossThatKnowsNothingOfTheModel()
    {
        Assert.Contains(
            "detach",
            Refused(_c.Task(b => Losses.CrossEntropy(_c.Model.call(b["x"]).detach(), b["y"]))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "no_grad",
            Refused(
                _c.Task(b =>
                {
                    using var noGrad = no_grad();
                    return _c.Loss(b);
                })
            ).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void ALossThatMixesExamples()
    {
        var thrown = Refused(_c.Task(b => Losses.CrossEntropy(_c.Model.call(b["x"] - b["x"].mean([0], keepdim: true)), b["y"])));
        Assert.Contains("mixes the examples", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ALossDividedByTheBatch()
    {
        var thrown = Refused(_c.Task(b => _c.Loss(b) / b.Count));
        Assert.Contains("mixes the examples", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void DropoutThatIsOn()
    {
        var model = nn.Sequential(
            ("first", nn.Linear(4, 8, dtype: float64)),
            ("drop", nn.Dropout(0.5)),
            ("last", nn.Linear(8, 3, dtype: float64))
        );
        model.train();
        var thrown = Refused(TaskOf(model));
        Assert.Contains("drop (Dropout)", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("model.eval()", thrown.Message, StringComparison.Ordinal);

        model.eval();
        new TracIn().Score(TaskOf(model), _c.Train, _c.Queries).Dispose();
    }

    [Fact]
    public void FunctionalDropoutThatIsOn()
    {
        var thrown = Refused(
            _c.Task(b => Losses.CrossEntropy(_c.Head.call(nn.functional.dropout(_c.Hidden.call(b["x"]), 0.5, training: true)), b["y"]))
        );
        Assert.Contains("random", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("model.eval()", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void BatchNormInTrainingMode()
    {
        var model = nn.Sequential(("norm", nn.BatchNorm1d(4, dtype: float64)), ("last", nn.Linear(4, 3, dtype: float64)));
        model.train();
        Assert.Contains("norm (BatchNorm1d)", Refused(TaskOf(model)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NothingToTrain()
    {
        foreach (var parameter in _c.Model.parameters())
        {
            parameter.requires_grad = false;
        }

        Assert.Contains("no trainable parameter", Refused(_c.Task()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ModulesThatAreNotRegistered()
    {
        var hidden = new Composite(x => _c.Head.call(_c.Hidden.call(x).tanh()));
        var thrown = Refused(TaskOf(hidden));
        Assert.Contains("no trainable parameter", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("RegisterComponents", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ALayerThatIsRunByForward()
    {
        var model = new Composite(x => _c.Head.forward(_c.Hidden.call(x).tanh()), ("hidden", _c.Hidden), ("head", _c.Head));
        var thrown = Refused(TaskOf(model));
        Assert.Contains("head (Linear)", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("layer.call(x)", thrown.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hidden", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ParametersOfTwoDtypes()
    {
        var model = nn.Sequential(("first", nn.Linear(4, 8, dtype: float64)), ("last", nn.Linear(8, 3, dtype: float32)));
        var thrown = Refused(TaskOf(model));
        Assert.Contains("first.weight is Float64", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("last.weight Float32", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnErrorOfTheModelNamesTheBatch()
    {
        var thrown = Refused(_c.Task(b => Losses.CrossEntropy(_c.Model.call(b["x"].t()), b["y"])));
        Assert.Contains("\"x\" Float64 [11, 4]", thrown.Message, StringComparison.Ordinal);
        Assert.NotNull(thrown.InnerException);
    }

    private static InfluenceTask TaskOf(nn.Module<Tensor, Tensor> model) =>
        new(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };

    /// <summary>The error of calls that scored nothing; the first loss that is evaluated is that of the four queries.</summary>
    private InfluenceException Refused(InfluenceTask task)
    {
        var reports = new Reports();
        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, _c.Train, _c.Queries, reports));
        if (task.Measurement is null)
        {
            Assert.Throws<InfluenceException>(() => new TracIn().SelfInfluence(task, _c.Train, reports));
            Assert.Throws<InfluenceException>(() => task.Coverage(_c.Train));
        }

        Assert.Empty(reports.All);
        return thrown;
    }
}
