using System.Globalization;
using Influence.Curvature;
using Influence.Tests.Evaluation;
using Influence.Tests.Oracles;
using Influence.Unlearning;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Unlearning;

/// <summary>Methods that move a layer, some rows, or towards predicted outputs.</summary>
public class ParameterChoiceTests
{
    private static readonly long[] s_forget = [0, 4, 9];

    [Fact]
    public void TheParetoFrontIsTheSheets() =>
        Assert.Equal([0, 1, 2], SingleLayerUnlearning.ParetoFront([(1, .1), (2, .5), (.5, .05), (1, .4)]));

    /// <summary>One layer moves, along its gradient, as far as the target.</summary>
    [Fact]
    public void SlugMovesOneLayerToTheTarget()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 20);
        var gradients = c.TrainGradients(name => name.StartsWith("head", StringComparison.Ordinal))
            .index_select(0, tensor(s_forget))
            .mean([0]);
        using var unlearned = new SingleLayerUnlearning { TargetLoss = 2 }.Unlearn(c.Task(), c.Train, s_forget);

        // Twelve bisections of an interval whose ends differ by a factor of two.
        Assert.InRange(unlearned.ForgetLoss.After, 2, 2.01);
        var moved = c
            .Model.named_parameters()
            .Where(p => !p.parameter.detach().eq(unlearned.Tensors[p.name]).all().item<bool>())
            .Select(p => p.name.Split('.')[0])
            .Distinct()
            .ToList();
        var layer = Assert.Single(moved);
        Assert.Contains(layer, Assert.Single(unlearned.Notes), StringComparison.Ordinal);
        if (layer == "head")
        {
            var step = cat(
                [
                    .. c
                        .Model.named_parameters()
                        .Where(p => p.name.StartsWith("head", StringComparison.Ordinal))
                        .Select(p => (unlearned.Tensors[p.name] - p.parameter.detach()).reshape(-1)),
                ],
                0
            );
            Assert.Equal(1, (step.dot(gradients) / (step.norm() * gradients.norm())).item<double>(), 1e-10);
        }

        Assert.Contains(
            "already",
            Assert
                .Throws<InfluenceException>(() => new SingleLayerUnlearning { TargetLoss = 1e-3 }.Unlearn(c.Task(), c.Train, s_forget))
                .Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>The sheet's check with 1,000 draws: a function gives nearly 1, independence nearly 0; given X itself, its noise-free
    /// function has nothing left.</summary>
    [Fact]
    public void ConditionalDependenceTellsFunctionsFromNoise()
    {
        var random = new Random(1);
        double[] Draw() => [.. Enumerable.Range(0, 1000).Select(_ => random.NextDouble())];
        var (x, z, noise) = (Draw(), Draw(), Draw());
        double[] function = [.. z.Select(v => Math.Sin(6 * v))],
            both = [.. x.Zip(z, (a, b) => a + b)];
        Assert.InRange(ConditionalDependence.Of(function, z), 0.9, 1.05);
        Assert.InRange(ConditionalDependence.Of(noise, z), -0.1, 0.1);
        Assert.InRange(ConditionalDependence.Of(both, z, x), 0.85, 1.05);
        Assert.InRange(ConditionalDependence.Of(noise, z, x), -0.12, 0.12);
    }

    /// <summary>With all elements chosen L-CODEC's step is the Newton step of retraining; with a third of them it is that of the others
    /// held fixed.</summary>
    [Fact]
    public void LcodecStepsOnTheChosenRows()
    {
        using var scope = NewDisposeScope();
        using var problem = new LeastSquares();
        long[] keep = [.. problem.Train.Ids.Except(s_forget)];
        var whole = new LcodecUnlearning
        {
            Damping = Damping.Absolute(0),
            Matrix = CurvatureMatrix.Hessian,
            Draws = 40,
        };
        using var all = whole.Unlearn(problem.Task, problem.Train, s_forget);
        Assert.All(
            problem.Solution(keep).Zip(all.Tensors["weight"].reshape(-1).data<double>().ToArray()),
            pair => Assert.Equal(pair.First, pair.Second, 1e-11)
        );

        using var c = new Classifier(train: 20);
        var state = ModelState.Of(c.Model, c.X);
        var some = new LcodecUnlearning
        {
            MaximumParameters = 12,
            Draws = 60,
            Damping = Damping.Absolute(0.1),
        };
        using var part = some.Unlearn(c.Task(), c.Train, s_forget);
        long[] moved =
        [
            .. c
                .Model.named_parameters()
                .SelectMany(p => p.parameter.detach().ne(part.Tensors[p.name]).reshape(-1).data<bool>().ToArray())
                .Index()
                .Where(e => e.Item)
                .Select(e => (long)e.Index),
        ];
        Assert.InRange(moved.Length, 1, 12);

        // The same step from the dense curvature of the kept examples, cut to the elements.
        using var dense = DenseCurvature.Fit(
            c.Task(),
            c.Train.Only(c.Train.Ids.Except(s_forget)),
            new() { Matrix = CurvatureMatrix.GaussNewton }
        );
        var index = tensor(moved);
        var h = dense.Matrix.index_select(0, index).index_select(1, index) + (0.1 * eye(moved.Length, dtype: float64));
        var g = c.TrainGradients().index_select(0, tensor(s_forget)).sum([0L]).index_select(0, index) / 17;
        var expected = linalg.solve(h, g.unsqueeze(1)).squeeze(1);
        var found = cat([.. c.Model.named_parameters().Select(p => (part.Tensors[p.name] - p.parameter.detach()).reshape(-1))], 0)
            .index_select(0, index);
        Assert.True((expected - found).abs().max().item<double>() < 1e-9, $"{expected} {found}");
        state.AssertUnchanged(c.Model, c.X);
    }

    /// <summary>Targets of retrained models are reached by a linear model, whose outputs can be anything that its features span; SGD's rest
    /// is far below.</summary>
    [Fact]
    public void MatchingOracleTargetsGivesTheRetrainedModel()
    {
        using var scope = NewDisposeScope();
        using var problem = new LeastSquares();
        long[] keep = [.. problem.Train.Ids.Except(s_forget)];
        var retrained = problem.Solution(keep);
        var shift = problem.X.mv(tensor(retrained) - problem.Model.weight!.detach().reshape(-1)).data<double>().ToArray();
        var values = new double[30, 3];
        for (var q = 0; q < 30; q++)
        {
            for (var z = 0; z < 3; z++)
            {
                values[q, z] = shift[q] / 3;
            }
        }

        using var scores = EvaluationCases.Scores(values, trainIds: s_forget);
        var matching = new DatamodelMatching(scores)
        {
            Outputs = b => problem.Model.call(b["x"]).squeeze(1),
            Steps = 400,
            BatchSize = 30,
            LearningRate = 0.2,
        };
        using var unlearned = matching.Unlearn(problem.Task, problem.Train, s_forget);
        Assert.All(
            retrained.Zip(unlearned.Tensors["weight"].reshape(-1).data<double>().ToArray()),
            pair => Assert.Equal(pair.First, pair.Second, 1e-8)
        );
        Assert.Equal(2, unlearned.Notes.Count);
        var moved = s_forget.Average(id => Math.Abs(shift[id])).ToString("G3", CultureInfo.InvariantCulture);
        Assert.StartsWith($"the scores move outputs of points to forget by {moved} ", unlearned.Notes[0], StringComparison.Ordinal);
        Assert.Contains("30 points", unlearned.Notes[1], StringComparison.Ordinal);

        Assert.Contains(
            "lack examples to forget",
            Assert.Throws<InfluenceException>(() => matching.Unlearn(problem.Task, problem.Train, [1, 2])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "expected [30]",
            Assert
                .Throws<InfluenceException>(() =>
                    (matching with { Outputs = b => cat([problem.Model.call(b["x"]), problem.Model.call(b["x"])], 1) }).Unlearn(
                        problem.Task,
                        problem.Train.Only(problem.Train.Ids) with
                        {
                            BatchSize = 30,
                        },
                        s_forget
                    )
                )
                .Message.Replace("[7]", "[30]", StringComparison.Ordinal),
            StringComparison.Ordinal
        );
    }
}
