using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>The loop as a user runs it: optimizers, accumulation, modes of the model, ownership of tensors, bad input.</summary>
public class TrainingLoopTests
{
    // Sums in another order: a few hundred float64 roundings.
    private const double Rounding = 1e-10;

    private static readonly nn.Reduction None = nn.Reduction.None;

    private static Sequential Cnn(bool dropout = false)
    {
        List<nn.Module<Tensor, Tensor>> layers =
        [
            nn.Conv2d(1, 3, 3, padding: 1, dtype: float64),
            nn.BatchNorm2d(3, dtype: float64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(27, 3, dtype: float64),
        ];
        if (dropout)
        {
            layers.Insert(5, nn.Dropout(0.4));
        }

        return nn.Sequential([.. layers]);
    }

    private static Sequential WithDropout() =>
        nn.Sequential(nn.Linear(5, 8, dtype: float64), nn.Dropout(0.5), nn.Linear(8, 3, dtype: float64));

    private static InfluenceTask Task(nn.Module<Tensor, Tensor> model) =>
        new(model) { TrainingLoss = b => nn.functional.cross_entropy(model.call(b["x"]), b["y"], reduction: None) };

    private static ExampleBatch Images(int count, int seed)
    {
        random.manual_seed(seed);
        return ExampleBatch.Of(
            [.. Enumerable.Range(0, count).Select(i => (long)i)],
            ("x", randn([count, 1, 6, 6], dtype: float64)),
            ("y", randint(0, 3, [count]))
        );
    }

    private static ExampleBatch Rows(int count, int seed, ScalarType dtype = ScalarType.Float64)
    {
        random.manual_seed(seed);
        return ExampleBatch.Of(
            [.. Enumerable.Range(0, count).Select(i => (long)i)],
            ("x", randn([count, 5], dtype: dtype)),
            ("y", randint(0, 3, [count]))
        );
    }

    private static double[] Values(nn.Module model) =>
        [.. model.named_parameters().SelectMany(p => p.parameter.detach().to_type(ScalarType.Float64).data<double>().ToArray())];

    private static double LargestDifference(double[] a, double[] b) => a.Zip(b, (x, y) => Math.Abs(x - y)).Max();

    [Theory]
    [InlineData("sgd")]
    [InlineData("momentum")]
    [InlineData("adam")]
    [InlineData("adamw")]
    public void TwentyStepsGiveTheWeightsOfPlainTraining(string name)
    {
        using var scope = NewDisposeScope();
        var (plain, ours) = (Train(false), Train(true));

        // Adam divides small gradients by their size, which enlarges rounding.
        Assert.True(LargestDifference(plain, ours) < 1e-9, $"{LargestDifference(plain, ours)}");

        double[] Train(bool withLoop)
        {
            random.manual_seed(3);
            var model = Cnn(dropout: true);
            var task = Task(model);
            model.train();
            optim.Optimizer optimizer = name switch
            {
                "sgd" => optim.SGD(model.parameters(), 0.1),
                "momentum" => optim.SGD(model.parameters(), 0.05, momentum: 0.9, weight_decay: 0.01, nesterov: true),
                "adam" => optim.Adam(model.parameters(), 0.01),
                _ => optim.AdamW(model.parameters(), 0.01, weight_decay: 0.1),
            };
            using var loop = withLoop ? TrainingGradients.Open(task, Images(8, 1), Images(4, 2)) : null;
            for (var t = 0; t < 20; t++)
            {
                var (batch, validation) = (Images(8, 100 + t), Images(4, 2));
                random.manual_seed(t);
                optimizer.zero_grad();
                if (loop is null)
                {
                    task.TrainingLoss(batch).mean().backward();
                }
                else
                {
                    using var step = loop.Step(batch, validation);
                    step.Accumulate();
                    Assert.True(step.GradientNorms().gt(0).all().item<bool>());
                }

                optimizer.step();
            }

            return [.. Values(model), .. ((BatchNorm)model.children().ElementAt(1)).running_mean!.data<double>().ToArray()];
        }
    }

    [Fact]
    public void AccumulatedHalvesAreTheWholeBatch()
    {
        using var scope = NewDisposeScope();
        var model = nn.Sequential(nn.Linear(5, 4, dtype: float64), nn.Tanh(), nn.Linear(4, 3, dtype: float64));
        var batch = Rows(8, 1);
        var expected = PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean());
        using var loop = TrainingGradients.Open(Task(model), batch);
        foreach (var half in new[] { batch.Pick([0, 1, 2, 3]), batch.Pick([4, 5, 6, 7]) })
        {
            using var step = loop.Step(half);
            step.Accumulate(0.5);
            Assert.All(step.AccumulatedWeights, w => Assert.Equal(0.125, w, 15));
        }

        Assert.True(PlainBackward.RelativeError(PlainBackward.Take(model), expected) < Rounding);
    }

    [Fact]
    public void ABackwardPassOfTheUsersOwnWorksBetweenSteps()
    {
        using var scope = NewDisposeScope();
        var model = nn.Sequential(nn.Linear(5, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var batch = Rows(6, 1);
        var expected = PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean());
        var loop = TrainingGradients.Open(Task(model), batch);
        using (var step = loop.Step(batch))
        {
            Assert.All(model.parameters(), p => Assert.True(p.requires_grad));
            Assert.All(model.parameters(), p => Assert.Null(p.grad));
        }

        Assert.True(
            PlainBackward.RelativeError(PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean()), expected) < Rounding
        );
        loop.Dispose();
        Assert.True(
            PlainBackward.RelativeError(PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean()), expected) < Rounding
        );
    }

    [Fact]
    public void DropoutLeavesValuesOfTheVeryPassThatTrains()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var model = WithDropout();
        model.train();
        var (batch, validation) = (Rows(6, 1), Rows(3, 2));
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        random.manual_seed(9);
        using var step = loop.Step(batch, validation);
        step.Accumulate();
        var gradient = PlainBackward.Take(model);
        var rows = new List<Tensor>();
        for (var i = 0; i < 6; i++)
        {
            random.manual_seed(9);
            rows.Add(
                cat([.. PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).select(0, i)).Values.Select(g => g.reshape(-1))], 0)
            );
        }

        var g = stack([.. rows], 0);
        model.eval();
        var v = cat([.. PlainBackward.Of(model, () => Task(model).TrainingLoss(validation).mean()).Values.Select(x => x.reshape(-1))], 0);

        Assert.True(SingleExampleLoop.RelativeError(step.GradientNorms(), g.Squared().sum(1).sqrt()) < Rounding);
        Assert.True(SingleExampleLoop.RelativeError(step.ValidationProducts(), g.mv(v)) < Rounding);
        Assert.True(SingleExampleLoop.RelativeError(cat([.. gradient.Values.Select(x => x.reshape(-1))], 0), g.mean([0])) < Rounding);
        model.train();
        Assert.True(loop.Exactness.PerExampleIsExact);
        Assert.Contains("random", loop.Exactness.Modules.Single(m => m.Type == "Dropout").Note, StringComparison.Ordinal);
    }

    [Fact]
    public void BatchNormInTrainingModeGivesRowsThatSumToTheExactGradient()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var model = Cnn();
        model.train();
        var (batch, validation) = (Images(6, 1), Images(3, 2));
        var expected = PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean());
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        var norm = (BatchNorm)model.children().ElementAt(1);
        Tensor mean;
        using (var step = loop.Step(batch, validation))
        {
            mean = norm.running_mean!.clone();
            step.Accumulate();
            var gradient = PlainBackward.Take(model);
            Assert.True(PlainBackward.RelativeError(gradient, expected) < Rounding);

            // The rows' Gram matrix sums to the squared norm of the summed gradient.
            var total = gradient.Values.Sum(g => g.Squared().sum().item<double>()) * 36;
            Assert.Equal(1, step.Gram().sum().item<double>() / total, 10);

            // Validation as if it were alone, on the running statistics.
            var g = gradient.Values.Select(x => x.reshape(-1));
            model.eval();
            var v = PlainBackward.Of(model, () => Task(model).TrainingLoss(validation).mean()).Values.Select(x => x.reshape(-1));
            model.train();
            Assert.Equal(1, step.ValidationProducts().mean().item<double>() / cat([.. g], 0).dot(cat([.. v], 0)).item<double>(), 9);
        }

        Assert.Equal(mean.data<double>().ToArray(), norm.running_mean!.data<double>().ToArray());
        Assert.False(loop.Exactness.PerExampleIsExact);
        Assert.Contains("batch's statistics", loop.Exactness.Modules.Single(m => m.Type == "BatchNorm2d").Note, StringComparison.Ordinal);
        Assert.Contains("exact except where said", loop.Exactness.ToString(), StringComparison.Ordinal);
        model.eval();
        Assert.True(loop.Exactness.PerExampleIsExact);
    }

    [Fact]
    public void ValidationGivesTheSameInOnePassAndInItsOwn()
    {
        using var scope = NewDisposeScope();
        var model = new TinyDecoder();
        var (batch, validation) = (Sequences(4, 1), Sequences(2, 2));
        var joined = Values(model.Task());

        // A measurement of its own, which is the same.
        var apart = Values(
            new InfluenceTask(model) { TrainingLoss = model.Task().TrainingLoss, Measurement = b => model.Task().TrainingLoss(b) }
        );
        Assert.True(SingleExampleLoop.RelativeError(joined.Products, apart.Products) < Rounding);
        Assert.True(SingleExampleLoop.RelativeError(joined.Losses, apart.Losses) < Rounding);

        (Tensor Products, Tensor Losses) Values(InfluenceTask task)
        {
            using var loop = TrainingGradients.Open(task, batch, validation);
            using var step = loop.Step(batch, validation);
            return (step.ValidationProducts().clone(), step.ValidationLosses!.clone());
        }

        static ExampleBatch Sequences(int count, int seed)
        {
            random.manual_seed(seed);
            return TinyDecoder
                .Sequences(count)
                .Batches()
                .Select(b => ExampleBatch.Of(b.Ids, [.. b.Names.Select(n => (n, b[n].clone()))]))
                .Single();
        }
    }

    [Fact]
    public void FunctionalDropoutIsSeenSoThatValidationRunsWithoutIt()
    {
        using var scope = NewDisposeScope();
        var (first, second) = (nn.Linear(5, 8, dtype: float64), nn.Linear(8, 3, dtype: float64));
        Composite? model = null;
        model = new Composite(
            x => second.call(nn.functional.dropout(first.call(x), 0.5, model!.training)),
            ("first", first),
            ("second", second)
        );
        model.train();
        var (batch, validation) = (Rows(6, 1), Rows(3, 2));
        random.manual_seed(4);
        var expected = PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean());
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        random.manual_seed(4);
        using var step = loop.Step(batch, validation);
        step.Accumulate();
        Assert.True(PlainBackward.RelativeError(PlainBackward.Take(model), expected) < Rounding);
        model.eval();
        Assert.True(SingleExampleLoop.RelativeError(step.ValidationLosses!, Task(model).TrainingLoss(validation)) < Rounding);
    }

    /// <summary>A layer that sees parameters only has no example axis; its output then needs a gradient from before.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(4)]
    public void ALayerOverAParameterKeepsTheExactGradient(int examples)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(6);
        var (places, norm, head) = (
            nn.Parameter(randn(3, 5, dtype: float64)),
            nn.LayerNorm(5, dtype: float64),
            nn.Linear(5, 5, dtype: float64)
        );
        var model = new Composite(
            x => head.call((x.unsqueeze(1) + norm.call(places)).tanh()).mean([1]),
            ("norm", norm),
            ("head", head)
        ).With("places", places);
        var batch = Rows(examples, 1);
        var expected = PlainBackward.Of(model, () => Task(model).TrainingLoss(batch).mean());
        using var loop = TrainingGradients.Open(Task(model), Rows(4, 2));
        using var step = loop.Step(batch);
        step.Accumulate();
        Assert.True(PlainBackward.RelativeError(PlainBackward.Take(model), expected) < Rounding);
        var g = SingleExampleLoop.Gradients(
            model,
            t => nn.functional.cross_entropy(model.call(t[0]), t[1], reduction: None),
            [batch["x"], batch["y"]],
            n => n != "places"
        );
        Assert.True(SingleExampleLoop.RelativeError(step.GradientNorms(), g.Squared().sum(1).sqrt()) < Rounding);
        Assert.Contains("places", loop.Exactness.Modules.Single(m => !m.PerExample).Note, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatTheUserMakesMeanwhileStaysAndNothingOfTheStepDoes()
    {
        using var scope = NewDisposeScope();
        var model = nn.Sequential(nn.Linear(5, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        using var optimizer = optim.SGD(model.parameters(), 0.1, momentum: 0.9);
        var (batch, validation) = (Rows(6, 1), Rows(3, 2));
        using var loop = TrainingGradients.Open(Task(model), batch, validation);
        One();
        var before = LiveTensors.OnThisThread;
        var kept = One();
        Assert.Equal(before + 1, LiveTensors.OnThisThread);
        Assert.True(kept.gt(0).all().item<bool>());

        Tensor One()
        {
            Tensor mine;
            using (var step = loop.Step(batch, validation))
            {
                // Real TorchSharp leaves its handles of the gradients to the current scope.
                using (NewDisposeScope())
                {
                    optimizer.zero_grad();
                }

                step.Accumulate();
                step.Gram();
                step.ValidationProducts();
                mine = step.GradientNorms().clone();
                optimizer.step();
            }

            return mine;
        }
    }

    [Fact]
    public void BadInputIsNamed()
    {
        using var scope = NewDisposeScope();
        var model = nn.Sequential(nn.Linear(5, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        var batch = Rows(6, 1);
        var loop = TrainingGradients.Open(Task(model), batch);
        var broken = batch["x"].clone();
        broken[2, 0] = double.NaN;
        Assert.Equal(
            [2L],
            Assert.Throws<InfluenceException>(() => loop.Step(ExampleBatch.Of(batch.Ids, ("x", broken), ("y", batch["y"])))).ExampleIds
        );
        Assert.All(model.parameters(), p => Assert.True(p.requires_grad));
        Assert.Contains(
            "at least one id",
            Assert.Throws<InfluenceException>(() => ExampleBatch.Of([], ("x", broken))).Message,
            StringComparison.Ordinal
        );

        var step = loop.Step(batch);
        Assert.Contains(
            "no validation batch",
            Assert.Throws<InfluenceException>(() => step.ValidationProducts()).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "found 5",
            Assert.Throws<InfluenceException>(() => step.Accumulate(ones(5, dtype: float64))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "Int64",
            Assert.Throws<InfluenceException>(() => step.Accumulate(ones(6, dtype: int64))).Message,
            StringComparison.Ordinal
        );
        Assert.Equal(
            [1L],
            Assert.Throws<InfluenceException>(() => step.Accumulate(tensor(new[] { 1, double.NaN, 0, 0, 0, 0 }))).ExampleIds
        );
        Assert.Throws<InfluenceException>(() => step.Accumulate(double.PositiveInfinity));
        Assert.All(model.parameters(), p => Assert.Null(p.grad));
        step.Dispose();
        Assert.Throws<ObjectDisposedException>(() => step.Accumulate());
        Assert.Throws<ObjectDisposedException>(() => step.GradientNorms());

        model.parameters().First().requires_grad = false;
        Assert.Contains("frozen now", Assert.Throws<InfluenceException>(() => loop.Step(batch)).Message, StringComparison.Ordinal);
        model.parameters().First().requires_grad = true;
        model.to(float32);
        Assert.Contains(
            "Move the model first",
            Assert.Throws<InfluenceException>(() => loop.Step(batch)).Message,
            StringComparison.Ordinal
        );
        model.to(float64);
        var open = loop.Step(batch);
        loop.Dispose();
        Assert.Throws<ObjectDisposedException>(() => loop.Step(batch));
        Assert.Contains("disposed", Assert.Throws<InfluenceException>(() => open.Accumulate()).Message, StringComparison.Ordinal);
        open.Dispose();

        Assert.Contains(
            "PositionMask",
            Assert
                .Throws<InfluenceException>(() =>
                    TrainingGradients.Open(
                        new InfluenceTask(model) { TrainingLoss = Task(model).TrainingLoss, PositionMask = _ => ones([6, 1]) },
                        batch
                    )
                )
                .Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void ABatchOfADataLoaderBringsItsIds()
    {
        using var scope = NewDisposeScope();
        var batch = ExampleBatch.Of(new Dictionary<string, Tensor> { ["x"] = zeros([2, 5]), ["id"] = tensor(new long[] { 7, 3 }) }, "id");
        Assert.Equal([7L, 3], batch.Ids);
        Assert.Equal(["x"], batch.Names);
        Assert.Contains(
            "\"id\"",
            Assert
                .Throws<InfluenceException>(() => ExampleBatch.Of(new Dictionary<string, Tensor> { ["x"] = zeros([2, 5]) }, "id"))
                .Message,
            StringComparison.Ordinal
        );
    }
}
