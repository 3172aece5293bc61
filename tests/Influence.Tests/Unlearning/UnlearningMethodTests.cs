using Influence.Tests.Oracles;
using Influence.Unlearning;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Unlearning;

/// <summary>What all methods share: what they refuse, and that the model stays as it was.</summary>
public class UnlearningMethodTests
{
    private static readonly UnlearningMethod s_method = GradientUnlearning.Difference with { Steps = 2 };

    [Fact]
    public void SetsThatMakeNoSenseAreRefused()
    {
        using var c = new Classifier(train: 6);
        var task = c.Task();
        Refused("nothing to forget", []);
        Refused("that no training example has", [77]);
        Refused("ids to keep that no training example has", [0], [1, 99]);
        Refused("in both sets are 1", [0, 1], [1, 2]);
        Refused("nothing to keep", [0], []);
        Refused("All 6 training examples are to be forgotten", c.Train.Ids);

        void Refused(string part, IReadOnlyList<long> forget, IReadOnlyList<long>? keep = null) =>
            Assert.Contains(
                part,
                Assert.Throws<InfluenceException>(() => s_method.Unlearn(task, c.Train, forget, keep)).Message,
                StringComparison.Ordinal
            );
    }

    [Fact]
    public void AStepThatIsNotFiniteIsRefusedAndTheModelIsAsBefore()
    {
        using var c = new Classifier(train: 12);
        var state = ModelState.Of(c.Model, c.X);
        var broken = GradientUnlearning.Difference with { Steps = 60, LearningRate = 1e300 };
        Assert.Contains(
            "NaN or",
            Assert.Throws<InfluenceException>(() => broken.Unlearn(c.Task(), c.Train, [0, 1])).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "NaN or",
            Assert
                .Throws<InfluenceException>(() =>
                    (GradientUnlearning.Ascent with { Steps = 1, LearningRate = 1e308, BatchSize = 2 }).Unlearn(
                        c.Task(l => 1e10 * c.Loss(l)),
                        c.Train,
                        [0, 1]
                    )
                )
                .Message,
            StringComparison.Ordinal
        );
        state.AssertUnchanged(c.Model, c.X);
    }

    [Fact]
    public void TheModelIsAsBeforeAlsoWhenItIsCancelled()
    {
        using var c = new Classifier(train: 12);
        c.Loss(ExampleBatch.Of(c.Train.Ids, ("x", c.X), ("y", c.Y))).sum().backward();
        var state = ModelState.Of(c.Model, c.X);
        using var source = new CancellationTokenSource();
        var reports = 0;
        Assert.Throws<OperationCanceledException>(() =>
            s_method.Unlearn(
                c.Task(),
                c.Train,
                [0, 1],
                progress: new Reports(_ =>
                {
                    if (++reports == 3)
                    {
                        source.Cancel();
                    }
                }),
                cancellationToken: source.Token
            )
        );
        state.AssertUnchanged(c.Model, c.X);
        s_method.Unlearn(c.Task(), c.Train, [0, 1]).Dispose();
        state.AssertUnchanged(c.Model, c.X);
    }

    [Fact]
    public void NothingStaysAlive()
    {
        using var c = new Classifier(train: 12);
        using (s_method.Unlearn(c.Task(), c.Train, [0, 1])) { }

        var live = LiveTensors.OnThisThread;
        using (s_method.Unlearn(c.Task(), c.Train, [0, 1])) { }

        Assert.Equal(live, LiveTensors.OnThisThread);
    }

    /// <summary>Weights are loaded from the object and from its file, and into no other model.</summary>
    [Fact]
    public void WeightsAreLoadedAndSaved()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 12);
        using var other = new Classifier(train: 12);
        using var folder = new TempFolder();
        using var weights = s_method.Unlearn(c.Task(), c.Train, [0, 1]);
        var path = folder.Path("unlearned.safetensors");
        weights.Save(path);
        weights.LoadInto(other.Model);
        var first = other.Model.call(c.X).data<double>().ToArray();
        using var third = new Classifier(train: 12);
        Checkpoint.FromFile(path).LoadInto(third.Model);
        Assert.Equal(first, third.Model.call(c.X).data<double>().ToArray());
        Assert.NotEqual(first, c.Model.call(c.X).data<double>().ToArray());
        Assert.Contains("gradient difference", weights.ToString(), StringComparison.Ordinal);

        using var linear = nn.Linear(2, 1);
        Assert.Contains(
            "of another model",
            Assert.Throws<InfluenceException>(() => weights.LoadInto(linear)).Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => weights.Save(folder.Path("weights.pt")));
    }
}
