using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Scores over a part of the parameters, and the report of what took part.</summary>
public class SelectionTests
{
    [Fact]
    public void TheLastLayer()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        AssertRestricted(c, LayerSelection.Last, name => name.StartsWith("head.", StringComparison.Ordinal), "last layer");
    }

    [Fact]
    public void ChosenParameters()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        bool Included(string name) => name is "hidden.weight" or "head.bias";
        AssertRestricted(c, LayerSelection.Where(Included, "two of them"), Included, "two of them");
    }

    [Fact]
    public void FrozenParametersTakeNoPart()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        c.Hidden.weight.requires_grad = false;

        var coverage = c.Task().Coverage(c.Train);
        using var scores = new TracIn().Score(c.Task(), c.Train, c.Queries);

        Assert.Equal(["hidden.bias", "head.weight", "head.bias"], coverage.Parameters.Select(p => p.Name));
        Assert.Equal(1, coverage.Fraction);
        InvarianceTests.AssertEqual(c.QueryGradients().mm(c.TrainGradients().t()), scores.Values);
    }

    [Fact]
    public void ASelectionOfNothingNamesWhatThereIs()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var task = new InfluenceTask(c.Model) { TrainingLoss = c.Loss, Layers = LayerSelection.Where(_ => false) };

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, c.Train, c.Queries));

        Assert.Contains("hidden.weight", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void CoverageCountsEveryParameterOnce()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var extra = nn.Parameter(randn(Classifier.Classes, dtype: float64));
        c.Model.With("offset", extra);
        var task = new InfluenceTask(c.Model)
        {
            TrainingLoss = b => Losses.CrossEntropy(c.Model.call(b["x"]) + extra, b["y"]),
            Layers = LayerSelection.Where(name => name != "hidden.bias"),
        };

        var coverage = task.Coverage(c.Train);

        Assert.Equal(4 * 6 + (6 * 3) + 3, coverage.ByRule);
        Assert.Equal(3, coverage.BySingleExamples);
        Assert.Equal(6, coverage.NotIncluded);
        Assert.Equal(54, coverage.Total);
        Assert.Equal(1 - (6.0 / 54), coverage.Fraction, 12);
        Assert.Equal("Linear", coverage.Parameters.Single(p => p.Name == "head.weight").Method);
        Assert.Equal("single examples", coverage.Parameters.Single(p => p.Name == "offset").Method);
        Assert.Equal("left out", coverage.Parameters.Single(p => p.Name == "hidden.bias").Method);
    }

    [Fact]
    public void CoverageOfTiedAndIdleParameters()
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make("tied linear twice");
        var tied = Assert.Single(made.Task().Coverage(Examples.FromTensors(made.Inputs(3))).Parameters, p => p.Count == 25);
        Assert.Equal("first.weight = second.weight", tied.Name);

        var (used, idle) = (nn.Linear(3, 2, dtype: float64), nn.Linear(3, 2, dtype: float64));
        var model = new Composite(used.call, ("used", used), ("idle", idle));
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b[0]).sum(1) };
        var coverage = task.Coverage(Examples.FromTensors(randn(4, 3, dtype: float64)));
        Assert.All(
            coverage.Parameters.Where(p => p.Name.StartsWith("idle", StringComparison.Ordinal)),
            p => Assert.Contains("does not depend", p.Note, StringComparison.Ordinal)
        );
    }

    private static void AssertRestricted(Classifier c, LayerSelection layers, Func<string, bool> included, string description)
    {
        var task = new InfluenceTask(c.Model) { TrainingLoss = c.Loss, Layers = layers };
        using var scores = new TracIn().Score(task, c.Train, c.Queries);
        var self = new TracIn().SelfInfluence(task, c.Train);

        var (g, q) = (c.TrainGradients(included), c.QueryGradients(included));
        InvarianceTests.AssertEqual(q.mm(g.t()), scores.Values);
        InvarianceTests.AssertEqual(g.Squared().sum(1), tensor(self.Values.ToArray()));
        Assert.Equal(description, scores.Metadata.Layers);
        Assert.Equal(g.shape[1] / 51.0, scores.Metadata.Coverage, 12);
    }
}
