using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>The training loop's own gradients against plain backward and against the loop over single examples.</summary>
public class TrainingGradientsTests
{
    // Sums in another order: a few hundred float64 roundings.
    private const double Rounding = 1e-10;

    private static ExampleBatch Batch(Tensor[] inputs, long first = 0) =>
        ExampleBatch.Of(
            [.. Enumerable.Range(0, (int)inputs[0].shape[0]).Select(i => first + i)],
            [.. inputs.Select((t, i) => ($"{i}", t))]
        );

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void GradIsThatOfPlainBackward(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var inputs = made.Inputs(6);
        foreach (var training in new[] { false, true })
        {
            made.Model.train(training);
            random.manual_seed(5);
            var expected = PlainBackward.Of(made.Model, () => made.Loss(inputs).mean());
            random.manual_seed(5);
            using var loop = TrainingGradients.Open(made.Task(), Batch(inputs));
            random.manual_seed(5);
            using (var step = loop.Step(Batch(inputs)))
            {
                step.Accumulate();
            }

            Assert.Equal(training, made.Model.training);
            Assert.True(PlainBackward.RelativeError(PlainBackward.Take(made.Model), expected) < Rounding, $"training: {training}");
        }
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void WeightedGradIsThatOfPlainBackward(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var inputs = made.Inputs(6);
        using var loop = TrainingGradients.Open(made.Task(), Batch(inputs));
        foreach (
            var (weights, training) in new (double[], bool)[]
            {
                ([0.3, 0, 0, -0.2, 0, 0.5], false),
                ([1, 2, 3, 4, 5, 6], false),
                ([0.3, 0, 0, -0.2, 0, 0.5], true),
            }
        )
        {
            made.Model.train(training);
            random.manual_seed(5);
            var expected = PlainBackward.Of(made.Model, () => (made.Loss(inputs) * tensor(weights)).sum());

            random.manual_seed(5);
            using (var step = loop.Step(Batch(inputs)))
            {
                step.Accumulate(tensor(weights));
                Assert.Equal(weights, step.AccumulatedWeights);
            }

            Assert.True(PlainBackward.RelativeError(PlainBackward.Take(made.Model), expected) < Rounding, $"training: {training}");
        }
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void PerExampleValuesEqualTheLoopOverSingleExamples(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (inputs, validation) = (made.Inputs(6), made.Inputs(3));
        using var loop = TrainingGradients.Open(made.Task(), Batch(inputs), Batch(validation));
        var byRule = loop
            .Coverage.Parameters.Where(p => p.Method is not ("single examples" or "left out"))
            .SelectMany(p => p.Name.Split(" = "))
            .ToHashSet();
        if (byRule.Count == 0)
        {
            using var none = loop.Step(Batch(inputs), Batch(validation, 100));
            none.Accumulate();
            foreach (
                var ask in new Action[]
                {
                    () => none.GradientNorms(),
                    () => none.ValidationProducts(),
                    () => none.Gram(),
                    () => new InRunValues().Add(none, 0.1),
                }
            )
            {
                Assert.Contains("Coverage says why", Assert.Throws<InfluenceException>(ask).Message, StringComparison.Ordinal);
            }

            Assert.False(loop.Exactness.PerExampleIsExact);
            return;
        }

        var g = SingleExampleLoop.Gradients(made.Model, made.Loss, inputs, byRule.Contains);
        var v = SingleExampleLoop.Gradients(made.Model, made.Loss, validation, byRule.Contains).mean([0]);
        foreach (var budget in new[] { 512L << 20, 1L })
        {
            loop.MemoryBudget = budget;
            using var step = loop.Step(Batch(inputs), Batch(validation, 100));
            step.Accumulate();

            Assert.True(SingleExampleLoop.RelativeError(step.Losses, made.Loss(inputs)) < Rounding);
            Assert.True(SingleExampleLoop.RelativeError(step.ValidationLosses!, made.Loss(validation)) < Rounding);
            Assert.True(SingleExampleLoop.RelativeError(step.GradientNorms(), g.Squared().sum(1).sqrt()) < Rounding);
            Assert.True(SingleExampleLoop.RelativeError(step.ValidationProducts(), g.mv(v)) < Rounding);
            Assert.True(SingleExampleLoop.RelativeError(step.Gram(), g.mm(g.t())) < Rounding);
        }

        if (loop.Exactness.PerExampleIsExact)
        {
            Assert.Equal(1, loop.Coverage.Fraction);
            Assert.Equal(0, loop.Coverage.BySingleExamples);
        }
    }
}
