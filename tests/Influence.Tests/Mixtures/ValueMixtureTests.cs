using Influence.Mixtures;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Mixtures;

public class ValueMixtureTests
{
    private static readonly ExampleGroups s_groups = ExampleGroups.FromMembers(("books", [1, 2]), ("web", [3, 4]), ("spam", [5]));

    [Fact]
    public void OneStepIsTheFormula()
    {
        var values = ExampleScores.Of([1, 2, 3, 5], [2, 4, 1, -1.5]);
        var mixture = new ValueMixture { LearningRate = 0.5, Floor = 0.1 }.Update(
            values,
            s_groups,
            new Mixture(["spam", "web", "books"], [0.2, 0.3, 0.5])
        );

        // Means 3, 1 and -1.5 over the largest, 3; example 4 has no value.
        double[] raised = [0.5 * Math.Exp(0.5), 0.3 * Math.Exp(0.5 / 3), 0.2 * Math.Exp(-0.25)];
        double[] expected = [.. raised.Select(w => (0.7 * w / raised.Sum()) + 0.1)];
        Assert.Equal(["books", "web", "spam"], mixture.Names);
        Assert.All(expected.Zip(mixture.Weights), pair => Assert.Equal(pair.First, pair.Second, 14));
    }

    [Fact]
    public void PlainValuesAreTakenAsTheyAre()
    {
        var mixture = new ValueMixture { Normalized = false, Floor = 0 }.Update(ExampleScores.Of([1, 5], [0.4, -0.6]), s_groups);
        Assert.Equal(Math.Exp(1), mixture["books"] / mixture["spam"], 12);
        Assert.Equal(Math.Exp(-0.4), mixture["web"] / mixture["books"], 12);
    }

    [Fact]
    public void AFloorBringsAGroupBack()
    {
        var mixture = new ValueMixture { Floor = 0.05 }.Update(
            ExampleScores.Of([1], [1]),
            s_groups,
            new Mixture(["books", "web", "spam"], [1, 0, 0])
        );
        Assert.Equal(0.05, mixture["web"], 14);
    }

    [Fact]
    public void BadInputIsNamed()
    {
        var values = ExampleScores.Of([1], [1]);
        Assert.Contains(
            "None of the groups'",
            Message(() => new ValueMixture().Update(ExampleScores.Of([9], [1]), s_groups)),
            StringComparison.Ordinal
        );
        Assert.Contains("in all", Message(() => new ValueMixture { Floor = 0.5 }.Update(values, s_groups)), StringComparison.Ordinal);
        Assert.Contains(
            "NaN",
            Message(() => new ValueMixture().Update(ExampleScores.Of([1], [double.NaN]), s_groups)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "spam",
            Message(() => new ValueMixture().Update(values, s_groups, Mixture.Uniform("books", "web"))),
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new ValueMixture { LearningRate = -1 });
        Assert.Throws<InfluenceException>(() => new ValueMixture { Floor = 2 });

        static string Message(Action action) => Assert.Throws<InfluenceException>(action).Message;
    }

    /// <summary>Two sources of the same task, one with random labels: the values of the run itself move the sampler to the clean
    /// one.</summary>
    [Fact]
    public void ALoopMovesToTheGroupThatHelps()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(2);
        var (x, rule) = (randn([120, 6], dtype: float64), randn([6, 2], dtype: float64));
        var labels = x.mm(rule).argmax(1);
        var noisy = labels.clone();
        noisy.narrow(0, 60, 40).copy_(randint(0, 2, [40]));
        var model = nn.Linear(6, 2, dtype: float64);
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var validation = ExampleBatch.Of(
            [.. Enumerable.Range(100, 20).Select(i => (long)i)],
            ("x", x.narrow(0, 100, 20)),
            ("y", labels.narrow(0, 100, 20))
        );
        var groups = ExampleGroups.FromMembers(
            ("clean", Enumerable.Range(0, 60).Select(i => (long)i)),
            ("noisy", Enumerable.Range(60, 40).Select(i => (long)i))
        );
        var sampler = new Mixture.Sampler(groups, Mixture.Uniform("clean", "noisy"), seed: 3) { EpochLength = Mixture.Sampler.Endless };
        using var optimizer = optim.SGD(model.parameters(), 0.2);
        var values = new InRunValues();
        using var draws = sampler.GetEnumerator();
        using var loop = TrainingGradients.Open(task, validation, validation);
        for (var t = 1; t <= 60; t++)
        {
            var ids = new long[20];
            for (var i = 0; i < ids.Length; i++)
            {
                draws.MoveNext();
                ids[i] = draws.Current;
            }

            var index = tensor(ids);
            optimizer.zero_grad();
            using (
                var step = loop.Step(ExampleBatch.Of(ids, ("x", x.index_select(0, index)), ("y", noisy.index_select(0, index))), validation)
            )
            {
                step.Accumulate();
                values.Add(step, optimizer);
            }

            optimizer.step();
            if (t % 10 == 0)
            {
                sampler.Mixture = new ValueMixture { LearningRate = 0.3, Floor = 0.05 }.Update(
                    values.MeanScores(),
                    groups,
                    sampler.Mixture
                );
                values.Clear();
            }
        }

        Assert.True(sampler.Mixture["clean"] > 0.7, $"{sampler.Mixture}");
    }
}
