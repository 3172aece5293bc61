using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>What a model does in training mode only: writes in place, batch statistics, schedules; and parameters that change
/// hands.</summary>
public class TrainingModesTests
{
    // Sums in another order: a few hundred float64 roundings.
    private const double Rounding = 1e-10;

    private static InfluenceTask Task(nn.Module<Tensor, Tensor> model) =>
        new(model) { TrainingLoss = b => nn.functional.cross_entropy(model.call(b["x"]), b["y"], reduction: nn.Reduction.None) };

    private static ExampleBatch Rows(int count, int seed, ScalarType dtype = ScalarType.Float64)
    {
        random.manual_seed(seed);
        return ExampleBatch.Of(
            [.. Enumerable.Range(0, count).Select(i => (long)i)],
            ("x", randn([count, 5], dtype: dtype)),
            ("y", randint(0, 3, [count]))
        );
    }

    /// <summary>Two linear layers with something between them that knows whether the model trains.</summary>
    private static Composite Two(Func<Tensor, bool, Tensor> between)
    {
        random.manual_seed(1);
        var (first, second) = (nn.Linear(5, 8, dtype: float64), nn.Linear(8, 3, dtype: float64));
        Composite? model = null;
        model = new Composite(x => second.call(between(first.call(x), model!.training)), ("first", first), ("second", second));
        model.train();
        return model;
    }

    private static Tensor Flat(Dictionary<string, Tensor> gradients) => cat([.. gradients.Values.Select(g => g.reshape(-1))], 0);

    [Fact]
    public void InPlaceDropoutLeavesItsMaskInTheGradientsBeforeIt()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var model = nn.Sequential(
            nn.Linear(5, 8, dtype: float64),
            nn.Tanh(),
            nn.Linear(8, 8, dtype: float64),
            nn.Dropout(0.5, inplace: true),
            nn.Linear(8, 3, dtype: float64)
        );
        model.train();
        var batch = Rows(6, 1);
        using var loop = TrainingGradients.Open(Task(model), batch);
        random.manual_seed(9);
        using var step = loop.Step(batch);
        step.Accumulate();
        var actual = Flat(PlainBackward.Take(model));
        var g = stack(
            [
                .. Enumerable
                    .Range(0, 6)
                    .Select(i =>
                    {
                        random.manual_seed(9);
                        return Flat(PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).select(0, i)));
                    }),
            ],
            0
        );

        Assert.True(SingleExampleLoop.RelativeError(actual, g.mean([0])) < Rounding);
        Assert.True(SingleExampleLoop.RelativeError(step.GradientNorms(), g.Squared().sum(1).sqrt()) < Rounding);
    }

    [Fact]
    public void AChoiceUnderBatchStatisticsIsTrainedOnExactly()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var model = nn.Sequential(
            nn.Linear(5, 8, dtype: float64),
            nn.BatchNorm1d(8, dtype: float64),
            nn.ReLU(),
            nn.Linear(8, 3, dtype: float64)
        );
        model.train();
        var (batch, validation) = (Rows(8, 1), Rows(3, 2));
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        using var step = loop.Step(batch, validation);
        var choice = new OnlineSelection { Fraction = 0.4 }.Choose(step, 0.1);
        step.Accumulate(choice);
        var values = new InRunValues { Order = InRunValues.Expansion.Second };
        values.Add(step, 0.1);
        step.Accumulate(0.5);
        step.Accumulate(tensor(choice.Weights.ToArray()));
        Assert.Contains("mixed", values.Scores().Metadata.Notes, StringComparison.Ordinal);
        var expected = PlainBackward.Of(
            model,
            () => (Task(model).TrainingLoss(batch) * ((tensor(choice.Weights.ToArray()) * 2) + (0.5 / 8))).sum()
        );

        // PlainBackward cleared what was accumulated: once more.
        step.Accumulate(choice);
        step.Accumulate(0.5);
        step.Accumulate(tensor(choice.Weights.ToArray()));
        Assert.True(PlainBackward.RelativeError(PlainBackward.Take(model), expected) < Rounding);

        using (no_grad())
        {
            model.parameters().ElementAt(4).add_(0.1);
        }

        Assert.Contains(
            "before the optimizer's step",
            Assert.Throws<InfluenceException>(() => step.Accumulate(choice)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void BatchStatisticsOfAModelsOwnAreSeen()
    {
        using var scope = NewDisposeScope();
        var model = Two((x, training) => training ? x - x.mean([0L], keepdim: true) : x);
        var (batch, validation) = (Rows(6, 1), Rows(3, 2));
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        using (loop.Step(batch.Pick([0])))
        {
            // One example alone mixes nothing and changes nothing of what is known.
        }

        Assert.False(loop.Exactness.PerExampleIsExact);
        Assert.Contains("others of its batch", loop.Exactness.ToString(), StringComparison.Ordinal);
        double[] weights = [0.3, 0, 0.1, 0, 0, 0.6];
        var expected = PlainBackward.Of(model, () => (Task(model).TrainingLoss(batch) * tensor(weights)).sum());
        using (var step = loop.Step(batch, validation))
        {
            step.Accumulate(tensor(weights));
            var values = new InRunValues();
            values.Add(step, 0.1);
            Assert.Contains("mixed", values.Scores().Metadata.Notes, StringComparison.Ordinal);
        }

        Assert.True(PlainBackward.RelativeError(PlainBackward.Take(model), expected) < Rounding);
        model.eval();
        Assert.True(loop.Exactness.PerExampleIsExact);
    }

    [Fact]
    public void RandomNumbersAloneAreNoMixing()
    {
        using var scope = NewDisposeScope();
        var model = Two((x, training) => nn.functional.dropout(x, 0.5, training));
        using var loop = TrainingGradients.Open(Task(model), Rows(6, 1));
        Assert.True(loop.Exactness.PerExampleIsExact);
    }

    [Fact]
    public void DropoutThatBeginsLaterIsSeenThen()
    {
        using var scope = NewDisposeScope();
        var rate = 0.0;
        var model = Two((x, training) => rate == 0 ? x : nn.functional.dropout(x, rate, training));
        var (batch, validation) = (Rows(6, 1), Rows(3, 2));
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        foreach (var now in new[] { 0, 0.5, 0.5 })
        {
            rate = now;
            model.train();
            random.manual_seed(4);
            var expected = PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean());
            random.manual_seed(4);
            using var step = loop.Step(batch, validation);
            step.Accumulate();
            Assert.True(PlainBackward.RelativeError(PlainBackward.Take(model), expected) < Rounding);
            model.eval();
            Assert.True(SingleExampleLoop.RelativeError(step.ValidationLosses!, Task(model).TrainingLoss(validation)) < Rounding);
        }
    }

    [Fact]
    public void OpeningMovesNeitherRunningStatisticsNorRandomNumbers()
    {
        using var scope = NewDisposeScope();
        var norm = nn.BatchNorm1d(5, dtype: float64);
        var model = nn.Sequential(norm, nn.Dropout(0.5), nn.Linear(5, 3, dtype: float64));
        model.train();
        var batch = Rows(6, 1);
        var (mean, state) = (norm.running_mean!.clone(), random.get_rng_state());
        using var loop = TrainingGradients.Open(Task(model), batch);
        Assert.True(norm.running_mean!.eq(mean).all().item<bool>());
        Assert.True(random.get_rng_state().eq(state).all().item<bool>());
    }

    [Fact]
    public void ABatchThatFailsIsNotRunAgainInTrainingMode()
    {
        using var scope = NewDisposeScope();
        var runs = 0;
        var model = Two(
            (x, training) =>
            {
                runs += training ? 1 : 0;
                return x;
            }
        );
        var batch = Rows(6, 1);
        using var loop = TrainingGradients.Open(Task(model), batch);
        runs = 0;
        var labels = batch["y"].clone();
        labels[4] = 7;
        Assert.Equal(
            [4L],
            Assert.Throws<InfluenceException>(() => loop.Step(ExampleBatch.Of(batch.Ids, ("x", batch["x"]), ("y", labels)))).ExampleIds
        );
        Assert.Equal(1, runs);
    }

    [Fact]
    public void WhatTrainsBesideTheModelIsRefused()
    {
        using var scope = NewDisposeScope();
        var (model, head) = (nn.Linear(5, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => nn.functional.cross_entropy(head.call(model.call(b["x"])), b["y"], reduction: nn.Reduction.None),
        };
        Assert.Contains(
            "no parameters of task.Model",
            Assert.Throws<InfluenceException>(() => TrainingGradients.Open(task, Rows(4, 1))).Message,
            StringComparison.Ordinal
        );
        Assert.All(model.parameters(), p => Assert.True(p.requires_grad));
        foreach (var parameter in head.parameters())
        {
            parameter.requires_grad = false;
        }

        using var loop = TrainingGradients.Open(task, Rows(4, 1));
        Assert.Equal(24, loop.Coverage.ByRule);
    }

    [Fact]
    public void DisposingLeavesWhatWasFrozenMeanwhileAndAModelThatIsGone()
    {
        using var scope = NewDisposeScope();
        var model = nn.Sequential(nn.Linear(5, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var loop = TrainingGradients.Open(Task(model), Rows(4, 1));
        model.parameters().First().requires_grad = false;
        loop.Dispose();
        Assert.Equal([false, true, true, true], model.parameters().Select(p => p.requires_grad));

        model.parameters().First().requires_grad = true;
        var last = TrainingGradients.Open(Task(model), Rows(4, 1));
        model.Dispose();
        last.Dispose();
    }

    /// <summary>The L1 distance has no second derivative in the tensor library.</summary>
    [Fact]
    public void WhatCannotBeDifferentiatedTwiceIsRefusedInAnyStep()
    {
        using var scope = NewDisposeScope();
        var distances = false;
        var centres = randn([8, 8], dtype: float64);
        var model = Two((x, _) => distances ? -cdist(x, centres, 1) : x.tanh());
        var batch = Rows(6, 1);
        using var loop = TrainingGradients.Open(Task(model), batch, batch);
        foreach (var now in new[] { false, true })
        {
            distances = now;
            model.zero_grad();
            using var step = loop.Step(batch, batch);
            step.Accumulate();
            var before = model.parameters().Select(p => p.grad!.clone()).ToList();
            var values = new InRunValues { Order = InRunValues.Expansion.Second };
            if (now)
            {
                Assert.Contains(
                    "cannot be differentiated twice",
                    Assert.Throws<InfluenceException>(() => values.Add(step, 0.1)).Message,
                    StringComparison.Ordinal
                );
                Assert.Equal(0, values.Count);
            }
            else
            {
                values.Add(step, 0.1);
            }

            Assert.All(before.Zip(model.parameters()), pair => Assert.True(pair.First.eq(pair.Second.grad!).all().item<bool>()));
        }
    }

    [Fact]
    public void LossesMayBeOfAnotherTypeThanTheModel()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3));
        var task = new InfluenceTask(model) { TrainingLoss = b => Task(model).TrainingLoss(b).to_type(float64) };
        var batch = Rows(4, 1, float32);
        using var loop = TrainingGradients.Open(task, batch, batch);
        double[] weights = [0.2, 0, 0.5, 0.3];
        using (var step = loop.Step(batch, batch))
        {
            step.Accumulate(tensor(weights));
            new InRunValues { Order = InRunValues.Expansion.Second }.Add(step, 0.1);
        }

        var actual = PlainBackward.Take(model);

        // Float32 sums of a few products.
        Assert.True(
            PlainBackward.RelativeError(actual, PlainBackward.Of(model, () => (task.TrainingLoss(batch) * tensor(weights)).sum())) < 1e-5
        );
    }
}
