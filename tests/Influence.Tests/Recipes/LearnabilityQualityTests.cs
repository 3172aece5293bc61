using Influence.Recipes;
using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>DELT's score by hand, and the optimal-control sum against retraining with extra weight on an example.</summary>
public sealed class LearnabilityQualityTests : IDisposable
{
    private const double Rate = 0.3;
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>l = (w - 0.5)^2 / 2, J = w^2 / 2, from w = 1, rate 0.1, three steps; costates 2.464745, 1.68305, 0.8645.</summary>
    [Fact]
    public void TheWorkedExample()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Linear(1, 1, hasBias: false, dtype: float64);
        var task = new InfluenceTask(layer)
        {
            TrainingLoss = b => (layer.call(b["x"]) - 0.5).Squared().sum(1) / 2,
            Measurement = b => layer.call(b["x"]).Squared().sum(1) / 2,
        };
        double[] w = [1, 0.95, 0.905, 0.8645],
            costates = [2.464745, 1.68305, 0.8645];
        var checkpoints = w.Select((value, t) => Saved(layer, value, t, 0.1)).ToList();
        var one = Examples.FromTensors(("x", ones(1, 1, dtype: float64)));

        var pds = new LearnabilityQuality { Checkpoints = checkpoints, DivideByNorm = false }.Score(task, one, one);
        var lqs = new LearnabilityQuality { Checkpoints = checkpoints }.Score(task, one, one);

        Assert.Equal(2.339867, pds[0], 1e-6); // six decimals are given
        Assert.Equal(Enumerable.Range(0, 3).Sum(t => costates[t] * (w[t] - 0.5)), pds[0], 12);
        Assert.Equal(Enumerable.Range(0, 3).Sum(t => costates[t] * (w[t] - 0.5) / (w[t + 1] - 0.5)), lqs[0], 12);
    }

    /// <summary>PDS = -(1/rate) d(J(w_1) + ... + J(w_T)) / d(weight on the example's gradient), by whole trainings.</summary>
    [Fact]
    public void TheDerivativeOfTheWholeRun()
    {
        using var scope = NewDisposeScope();
        using var c = Regression();
        var checkpoints = Train(c, steps: 5, example: 0, extra: 0, save: true).Checkpoints;
        var estimator = new LearnabilityQuality { Checkpoints = checkpoints, DivideByNorm = false };

        var scores = estimator.Score(c.Task(), c.Train, c.Queries);

        const double Step = 1e-4;
        for (var n = 0; n < 6; n++)
        {
            var derivative = (Train(c, 5, n, Step).Total - Train(c, 5, n, -Step).Total) / (2 * Step);
            // differences with a step of 1e-4: an error of its square
            Assert.Equal(-derivative / Rate, scores[n], 1e-5 * Math.Abs(scores[n]));
        }

        var small = (estimator with { MemoryBudget = 1 }).Score(c.Task(), c.Train with { BatchSize = 2 }, c.Queries with { BatchSize = 1 });
        Assert.All(scores.Values.Zip(small.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-12)); // rounding
    }

    /// <summary>
    /// A rate that changes at every step: the derivative is minus the sum of rate_t times the term of step t. The term of a step is the
    /// score of the run from there less that of the run from the next.
    /// </summary>
    [Fact]
    public void EachStepHasItsOwnRate()
    {
        using var scope = NewDisposeScope();
        using var c = Regression();
        double[] rates = [0.1, 0.5, 0.2, 0.4, 0.3];
        var checkpoints = Train(c, 5, 0, 0, save: true, rates).Checkpoints;
        double[][] from =
        [
            .. Enumerable
                .Range(0, 5)
                .Select(t =>
                    new LearnabilityQuality { Checkpoints = checkpoints[t..], DivideByNorm = false }
                        .Score(c.Task(), c.Train, c.Queries)
                        .Values.ToArray()
                ),
        ];

        const double Step = 1e-4;
        for (var n = 0; n < 6; n++)
        {
            var derivative = (Train(c, 5, n, Step, false, rates).Total - Train(c, 5, n, -Step, false, rates).Total) / (2 * Step);
            var sum = Enumerable.Range(0, 5).Sum(t => rates[t] * (from[t][n] - (t == 4 ? 0 : from[t + 1][n])));
            Assert.Equal(-derivative, sum, 1e-5 * Math.Abs(sum)); // differences, as above
        }
    }

    /// <summary>Positions that cancel: in float32 pairs of positions leave a norm of rounding, which nothing is divided by.</summary>
    [Fact]
    public void AGradientThatCancelsIsLeftOutAndNamed()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        using var layer = nn.Linear(4, 2, hasBias: false);
        var x = randn(4, 6, 4);
        using (no_grad())
        {
            // Example 2: the second half of the positions repeats the first, with the opposite sign of the loss.
            x[2].narrow(0, 3, 3).copy_(x[2].narrow(0, 0, 3));
        }

        var signs = ones(4, 6, 1);
        signs[2].narrow(0, 3, 3).fill_(-1);
        var task = new InfluenceTask(layer)
        {
            TrainingLoss = b => (layer.call(b["x"]) * b["s"] * tensor(new[] { 0.3f, 0.7f })).sum(2L).sum(1L),
        };
        var examples = Examples.FromTensors(("x", x), ("s", signs));
        List<Checkpoint> run =
        [
            .. Enumerable.Range(0, 2).Select(step => Checkpoint.Save(_folder.Path($"cancel-{step}"), layer, 0.1, step)),
        ];

        var scores = new LearnabilityQuality { Checkpoints = run }.Score(task, examples, examples.Only([0, 1]));

        Assert.Equal(0, scores[2]);
        Assert.NotEqual(0, scores[0]);
        Assert.EndsWith("of the median: 1, of the examples with ids 2", scores.Metadata.Notes, StringComparison.Ordinal);
    }

    /// <summary>The terms of LQS are those of PDS over the norms at the next checkpoint: taken apart by runs of one step.</summary>
    [Fact]
    public void TheDivision()
    {
        using var scope = NewDisposeScope();
        using var c = Regression();
        var checkpoints = Train(c, 2, 0, 0, save: true).Checkpoints;

        var quality = new LearnabilityQuality { Checkpoints = checkpoints, DivideByNorm = false };
        var (both, second) = (
            quality.Score(c.Task(), c.Train, c.Queries),
            (quality with { Checkpoints = [checkpoints[1], checkpoints[2]] }).Score(c.Task(), c.Train, c.Queries)
        );
        var (norm1, norm2) = (Norms(checkpoints[1]), Norms(checkpoints[2]));

        var lqs = new LearnabilityQuality { Checkpoints = checkpoints }.Score(c.Task(), c.Train, c.Queries);

        for (var n = 0; n < 6; n++)
        {
            Assert.Equal(((both[n] - second[n]) / norm1[n]) + (second[n] / norm2[n]), lqs[n], 1e-10); // rounding of float64
        }

        ExampleScores Norms(Checkpoint at) => new GraNd { Checkpoints = [at] }.Score(c.Task(), c.Train);
    }

    /// <summary>A run of one step is a product of gradients, the target's from its end and the example's from its start.</summary>
    [Theory]
    [InlineData("conv2d grouped")]
    [InlineData("embedding")]
    [InlineData("raw parameter")]
    [InlineData("tied linear twice")]
    [InlineData("tied embedding and head")]
    [InlineData("attention causal")]
    [InlineData("native attention")]
    public void EveryKindOfBlock(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, targets) = (made.Inputs(5), made.Inputs(3));
        var start = Checkpoint.Save(_folder.Path("start"), made.Model, 0.1, 0);
        var g = SingleExampleLoop.Gradients(made.Model, made.Loss, train); // [5, P]
        using (no_grad())
        {
            foreach (var (_, parameter) in made.Model.named_parameters())
            {
                parameter.mul_(0.9);
            }
        }

        var end = Checkpoint.Save(_folder.Path("end"), made.Model, 0.1, 1);
        var target = SingleExampleLoop.Gradients(made.Model, made.Loss, targets).mean([0]);

        var scores = new LearnabilityQuality { Checkpoints = [start, end], DivideByNorm = false }.Score(
            made.Task(),
            Examples.FromTensors(train),
            Examples.FromTensors(targets)
        );

        Assert.True(SingleExampleLoop.RelativeError(tensor(scores.Values.ToArray()), g.mv(target)) < 1e-10); // rounding of float64
    }

    /// <summary>While the weights rest, a checkpoint for four steps says the same as four of one.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ASparseCheckpointStandsForItsSteps(bool divide)
    {
        using var scope = NewDisposeScope();
        using var c = Regression();
        var at = Enumerable.Range(0, 8).Select(step => Checkpoint.Save(_folder.Path($"rest-{step}"), c.Model, Rate, step)).ToList();

        ExampleScores Score(params int[] steps) =>
            new LearnabilityQuality { Checkpoints = [.. steps.Select(s => at[s])], DivideByNorm = divide }.Score(
                c.Task(),
                c.Train,
                c.Queries
            );
        var (dense, sparse) = (Score(0, 1, 2, 3, 4, 5, 6, 7), Score(0, 4, 7));

        Assert.All(dense.Values.Zip(sparse.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-12)); // rounding of float64
    }

    /// <summary>An example that is fitted to the last digit has no gradient: its term is left out.</summary>
    [Fact]
    public void AGradientOfZero()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Linear(1, 1, hasBias: false, dtype: float64);
        var task = new InfluenceTask(layer) { TrainingLoss = b => (layer.call(b["x"]) - b["y"]).Squared().sum(1) / 2 };
        var train = Examples.FromTensors(
            ("x", ones(2, 1, dtype: float64)),
            (
                "y",
                tensor(
                    new[,]
                    {
                        { 1.0 },
                        { 3 },
                    }
                )
            )
        );
        var target = Examples.FromTensors(
            ("x", ones(1, 1, dtype: float64)),
            (
                "y",
                tensor(
                    new[,]
                    {
                        { 5.0 },
                    }
                )
            )
        );

        var scores = new LearnabilityQuality { Checkpoints = [Saved(layer, 0.5, 0, 0.1), Saved(layer, 1, 1, 0.1)] }.Score(
            task,
            train,
            target
        );

        Assert.Equal(0, scores[0]);
        Assert.Equal(-4 * -2.5 / 2, scores[1], 12);
    }

    [Fact]
    public void RunsThatAreNone()
    {
        using var scope = NewDisposeScope();
        using var c = Regression();
        var at = Enumerable.Range(0, 3).Select(step => Checkpoint.Save(_folder.Path($"{step}"), c.Model, 0.1, step)).ToList();
        static string Message(IReadOnlyList<Checkpoint> checkpoints) =>
            Assert.Throws<InfluenceException>(() => new LearnabilityQuality { Checkpoints = checkpoints }).Message;

        Assert.Contains("At least 2 checkpoints", Message([]), StringComparison.Ordinal);
        Assert.Contains("At least 2 checkpoints", Message([at[0]]), StringComparison.Ordinal);
        Assert.Contains("steps 1, 0", Message([at[1], at[0]]), StringComparison.Ordinal);
        Assert.Contains("steps 1, 1", Message([at[1], at[1]]), StringComparison.Ordinal);
        Assert.Contains(
            "negative",
            Assert.Throws<InfluenceException>(() => Checkpoint.Save(_folder.Path("negative"), c.Model, -1, 2)).Message,
            StringComparison.Ordinal
        );

        // 400 steps of rate 1e6 on one Hessian.
        var far = Checkpoint.Save(_folder.Path("far"), c.Model, 1e6, 400);
        var thrown = Assert.Throws<InfluenceException>(() =>
            new LearnabilityQuality { Checkpoints = [at[0], far] }.Score(c.Task(), c.Train, c.Queries)
        );
        Assert.Contains("costate grows", thrown.Message, StringComparison.Ordinal);
    }

    private static Classifier Regression() => new(train: 6, queries: 3);

    private Checkpoint Saved(TorchSharp.Modules.Linear layer, double weight, int step, double rate)
    {
        using var noGrad = no_grad();
        layer.weight.fill_(weight);
        return Checkpoint.Save(_folder.Path($"{Guid.NewGuid()}"), layer, rate, step);
    }

    /// <summary>Full-batch SGD from fixed weights, with extra weight on one example; the sum over steps of the mean query loss.</summary>
    private (double Total, List<Checkpoint> Checkpoints) Train(
        Classifier c,
        int steps,
        long example,
        double extra,
        bool save = false,
        double[]? rates = null
    )
    {
        using var scope = NewDisposeScope();
        random.manual_seed(23);
        using (no_grad())
        {
            foreach (var (_, parameter) in c.Model.named_parameters())
            {
                parameter.normal_(0, 0.7);
            }
        }

        var (total, checkpoints) = (0.0, new List<Checkpoint>());
        for (var t = 0; t <= steps; t++)
        {
            if (save)
            {
                // The rate of the step that led here, as a recorder saves it.
                checkpoints.Add(Checkpoint.Save(_folder.Path($"run-{t}"), c.Model, RateOf(Math.Max(0, t - 1)), t));
            }

            using (no_grad())
            {
                total += t == 0 ? 0 : c.PlainLoss([c.QueryX, c.QueryY]).mean().item<double>();
            }

            var losses = c.PlainLoss([c.X, c.Y]);
            c.Model.zero_grad();
            (losses.mean() + (losses[example] * extra)).backward();
            using var noGrad = no_grad();
            foreach (var (_, parameter) in c.Model.named_parameters())
            {
                parameter.sub_(parameter.grad! * RateOf(Math.Min(t, steps - 1)));
            }
        }

        c.Model.zero_grad();
        return (total, checkpoints);

        double RateOf(int step) => rates?[step] ?? Rate;
    }
}
