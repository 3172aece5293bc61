using Influence.Curvature;
using Influence.Groups;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Groups;

/// <summary>What a caller is told, and that the model, its weights too, is as before whatever happens.</summary>
public sealed class EffectBadInputTests : IDisposable
{
    private readonly Classifier _c = new();
    private readonly DenseCurvature _dense;
    private readonly ExampleGroups _groups = ExampleGroups.FromMembers(("a", [0, 1, 2]), ("b", [2, 5]));

    public EffectBadInputTests() => _dense = DenseCurvature.Fit(_c.Task(), _c.Train, new() { Damping = Damping.Absolute(0.5) });

    public void Dispose()
    {
        _dense.Dispose();
        _c.Dispose();
    }

    [Fact]
    public void AGroupOfEverything()
    {
        var everything = ExampleGroups.FromMembers(("all", _c.Train.Ids));
        var thrown = Assert.Throws<InfluenceException>(() => new GroupEffect(_dense).Predict(_c.Task(), _c.Train, everything, _c.Queries));
        Assert.Contains("Nothing is left without \"all\": it holds all 11 training examples.", thrown.Message, StringComparison.Ordinal);

        // Counting everything twice changes nothing: the mean is the same.
        var doubled = new GroupEffect(_dense).Predict(_c.Task(), _c.Train, everything, _c.Queries, weight: 2);
        Assert.Equal(doubled.Linear(0, 0, GroupEffect.Expansion.First), doubled.Linear(0, 0, GroupEffect.Expansion.Second), 1e-10);
    }

    [Theory]
    [InlineData(-0.5)]
    [InlineData(double.NaN)]
    [InlineData(double.PositiveInfinity)]
    public void AWeight(double weight)
    {
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupEffect(_dense).Predict(_c.Task(), _c.Train, _groups, _c.Queries, weight: weight)
        );
        Assert.Contains(
            "The weight is what an example of the group counts afterwards, 0 (removed) or more",
            thrown.Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void IdsThatNoExampleHas()
    {
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupEffect(_dense).Predict(_c.Task(), _c.Train, ExampleGroups.FromMembers(("a", [99])), _c.Queries)
        );
        Assert.Contains("none of the training examples has: 99", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NewtonWithoutAMatrix()
    {
        using var ekfac = Ekfac.Fit(_c.Task(), _c.Train);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupEffect(ekfac) { Order = GroupEffect.Expansion.Newton }.Predict(_c.Task(), _c.Train, _groups, _c.Queries)
        );
        Assert.Contains(
            "needs the curvature as a matrix, DenseCurvature.Fit(task, train); found EK-FAC",
            thrown.Message,
            StringComparison.Ordinal
        );

        var effects = new GroupEffect(ekfac).Predict(_c.Task(), _c.Train, _groups, _c.Queries);
        Assert.Equal("groups overlap: each is re-weighted on its own", effects.Metadata.Notes);
        Assert.Contains(
            "The order Newton was not computed",
            Assert.Throws<InfluenceException>(() => effects.Linear(0, 0, GroupEffect.Expansion.Newton)).Message,
            StringComparison.Ordinal
        );
        Assert.Contains("rise of the measurement when the group counts 0 times", effects.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void NewtonWithAFitOnOtherExamples()
    {
        using var scope = NewDisposeScope();
        var fewer = _c.Train.Only([0, 1, 2, 3, 4, 5]);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GroupEffect(_dense) { Order = GroupEffect.Expansion.Newton }.Predict(_c.Task(), fewer, _groups, _c.Queries)
        );
        Assert.Contains(
            "fit the DenseCurvature on the 6 training examples given here; it saw 11",
            thrown.Message,
            StringComparison.Ordinal
        );

        thrown = Assert.Throws<InfluenceException>(() =>
            new GroupEffect(_dense) { Order = GroupEffect.Expansion.Newton, Matrix = CurvatureMatrix.Hessian }.Predict(
                _c.Task(),
                _c.Train,
                _groups,
                _c.Queries
            )
        );
        Assert.Contains("leave Matrix at null", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>One group moves a bias up, where the measurement overflows; the other moves it down, and keeps its prediction.</summary>
    [Fact]
    public void WeightsThatAreTooFarOff()
    {
        using var scope = NewDisposeScope();
        var start = _c.Head.bias!.detach().clone();
        var effect = new GroupEffect(_dense) { Order = GroupEffect.Expansion.First };
        var bias = new InfluenceTask(_c.Model) { TrainingLoss = _c.Loss, Measurement = b => (_c.Loss(b) * 0) + _c.Head.bias![0] };
        var each = effect.Predict(bias, _c.Train, ExampleGroups.Of(_c.Train.Ids, id => $"{id}"), _c.Queries);
        var ordered = _c.Train.Ids.OrderBy(id => each.Linear(0, (int)id, GroupEffect.Expansion.First)).ToArray();
        Assert.True(
            each.Linear(0, (int)ordered[0], GroupEffect.Expansion.First) < 0
                && each.Linear(0, (int)ordered[^1], GroupEffect.Expansion.First) > 0
        );

        Tensor Above() => _c.Head.bias![0] - start[0] + (_c.Head.bias![0] - start[0]).abs();
        var task = new InfluenceTask(_c.Model) { TrainingLoss = _c.Loss, Measurement = b => _c.Loss(b) * (Above() * 1e300).exp() };
        var found = effect.Predict(task, _c.Train, ExampleGroups.FromMembers(("up", [ordered[^1]]), ("down", [ordered[0]])), _c.Queries);
        Assert.Equal(double.PositiveInfinity, found.Predicted(1, 0));
        Assert.True(double.IsFinite(found.Linear(1, 0, GroupEffect.Expansion.First)) && double.IsFinite(found.Predicted(1, 1)));
        Assert.Equal(start.data<double>().ToArray(), _c.Head.bias!.data<double>().ToArray());
    }

    /// <summary>The loss is finite, and its slope too large for one query: that query is named, not a group of training examples.</summary>
    [Fact]
    public void AQueryGradientThatIsTooLarge()
    {
        using var scope = NewDisposeScope();
        var task = new InfluenceTask(_c.Model) { TrainingLoss = _c.Loss, Measurement = b => _c.Loss(b) + Steep(b, 2) };
        var thrown = Assert.Throws<InfluenceException>(() => new GroupEffect(_dense).Predict(task, _c.Train, _groups, _c.Queries));
        Assert.Contains(
            "summed measurement gradient of the query group \"query 2\" is NaN or too large",
            thrown.Message,
            StringComparison.Ordinal
        );
        Assert.Equal([2L], thrown.ExampleIds);
    }

    [Fact]
    public void ATrainingGradientThatIsTooLarge()
    {
        using var scope = NewDisposeScope();
        var task = new InfluenceTask(_c.Model) { TrainingLoss = b => _c.Loss(b) + Steep(b, 5), Measurement = _c.Loss };
        var thrown = Assert.Throws<InfluenceException>(() => new GroupEffect(_dense).Predict(task, _c.Train, _groups, _c.Queries));
        Assert.Contains("summed gradient of examples of the group \"b\" is NaN or too large", thrown.Message, StringComparison.Ordinal);
        Assert.Equal([5L], thrown.ExampleIds);
    }

    [Theory]
    [InlineData("call")]
    [InlineData("exception")]
    [InlineData("cancellation")]
    public void TheModelIsAsItWas(string what)
    {
        var state = ModelState.Of(_c.Model, _c.QueryX);
        Run();
        var before = LiveTensors.OnThisThread;
        using (var scope = NewDisposeScope())
        {
            Run();
            Assert.Equal(0, scope.DisposablesCount);
        }

        Assert.Equal(before, LiveTensors.OnThisThread);
        state.AssertUnchanged(_c.Model, _c.QueryX);

        double Bias()
        {
            using var first = _c.Head.bias![0];
            return first.item<double>();
        }

        void Run()
        {
            using var source = new CancellationTokenSource();
            var bias = Bias();
            var task = new InfluenceTask(_c.Model)
            {
                TrainingLoss = _c.Loss,
                Measurement = b => what == "exception" && Bias() != bias ? throw new InvalidTimeZoneException() : _c.Loss(b),
            };
            var effect = new GroupEffect(_dense) { Order = GroupEffect.Expansion.Newton };
            var reports = new Reports(_ => source.Cancel());
            switch (what)
            {
                case "call":
                    effect.Predict(task, _c.Train with { BatchSize = 3 }, _groups, _c.Queries);
                    break;
                case "exception":
                    Assert.Throws<InfluenceException>(() => effect.Predict(task, _c.Train, _groups, _c.Queries));
                    break;
                default:
                    Assert.ThrowsAny<OperationCanceledException>(() =>
                        effect.Predict(task, _c.Train, _groups, _c.Queries, progress: reports, cancellationToken: source.Token)
                    );
                    break;
            }
        }
    }

    /// <summary>Zero, with a slope of 10 * 1e308 for one example.</summary>
    private Tensor Steep(ExampleBatch batch, long bad) =>
        (_c.Head.bias!.sum() - _c.Head.bias!.sum().detach()) * tensor(batch.Ids.Select(id => id == bad ? 1e308 : 0).ToArray()) * 10;
}
