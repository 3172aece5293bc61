using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Examples that cannot be scored: an error that names them, before the first batch is scored where it can be known.</summary>
public sealed class BadExamplesTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _scope.Dispose();
    }

    [Fact]
    public void NoExamples()
    {
        var none = Examples.FromTensors(("x", zeros(0, 4, dtype: float64)), ("y", zeros([0], ScalarType.Int64)));

        var thrown = Refused(_c.Task(), none, none);

        Assert.Contains("2 problems", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("training examples are empty", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("queries are empty", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void RepeatedIds()
    {
        var thrown = Refused(_c.Task(), _c.Train with { Ids = [0, 1, 2, 7, 4, 5, 6, 7, 8, 8, 10] }, _c.Queries with { Ids = [3, 3, 1, 2] });

        Assert.Contains("repeat: 7, 8", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("repeat: 3", thrown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(5)]
    [InlineData(20)]
    public void IdsOfTheWrongCount(int count)
    {
        var examples = _c.Train with { Ids = [.. Enumerable.Range(0, count).Select(i => (long)i)], BatchSize = 4 };

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(_c.Task(), examples, _c.Queries));
        Assert.Contains($"{count} ids", thrown.Message, StringComparison.Ordinal);
        thrown = Assert.Throws<InfluenceException>(() => new TracIn().SelfInfluence(_c.Task(), examples));
        Assert.Contains($"{count} ids", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TensorsThatAreNotExamples()
    {
        Contains("at least one tensor", () => Examples.FromTensors(Array.Empty<Tensor>()));
        Contains("no dimension", () => Examples.FromTensors(("x", _c.X), ("temperature", tensor(1.0))));
        Contains("\"x\" 11, \"y\" 4", () => Examples.FromTensors(("x", _c.X), ("y", _c.QueryY)));
        Contains("must differ", () => Examples.FromTensors(("x", _c.X), ("x", _c.X)));
        Contains("BatchSize is at least 1, not 0", () => _ = _c.Train with { BatchSize = 0 });
    }

    [Fact]
    public void ATensorThatTheBatchDoesNotHave()
    {
        var byName = Refused(_c.Task(b => Losses.CrossEntropy(_c.Model.call(b["pixels"]), b["y"])));
        Assert.Contains("\"pixels\"; it has \"x\", \"y\"", byName.Message, StringComparison.Ordinal);
        var byPosition = Refused(_c.Task(b => Losses.CrossEntropy(_c.Model.call(b[0]), b[2])));
        Assert.Contains("none at position 2", byPosition.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void LabelsOutOfRange()
    {
        _c.Y[8] = 3;
        _c.Y[9] = -1;
        var train = _c.Train with { Ids = [.. Enumerable.Range(500, 11).Select(i => (long)i)], BatchSize = 6 };

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(_c.Task(), train, _c.Queries));

        Assert.Equal([508, 509], thrown.ExampleIds);
        Assert.Contains("from 0 to 2", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("508, 509", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void LabelsOutOfRangeWithTorchSharpsOwnLoss()
    {
        _c.Y[8] = 3;
        var thrown = Assert.Throws<InfluenceException>(() =>
            new TracIn().Score(_c.Task(b => _c.PlainLoss([b["x"], b["y"]])), _c.Train with { BatchSize = 6 }, _c.Queries)
        );

        Assert.Equal([8], thrown.ExampleIds);
        Assert.Contains("ids 8", thrown.Message, StringComparison.Ordinal);
        Assert.NotNull(thrown.InnerException);
    }

    [Fact]
    public void LossesThatAreNotFinite()
    {
        _c.X[4, 1] = double.NaN;
        _c.X[7, 0] = double.PositiveInfinity;
        foreach (
            var act in new Action[]
            {
                () => new TracIn().Score(_c.Task(), _c.Train, _c.Queries),
                () => new TracIn().SelfInfluence(_c.Task(), _c.Train),
            }
        )
        {
            // tanh saturates at infinity: its gradient there is 0 times infinity.
            var thrown = Assert.Throws<InfluenceException>(act);
            Assert.Contains(4, thrown.ExampleIds);
            Assert.DoesNotContain(3, thrown.ExampleIds);
            Assert.Contains("NaN", thrown.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>The root at zero: the loss is 0, its gradient 0/0.</summary>
    [Theory]
    [InlineData(TracIn.GradientSimilarity.Dot)]
    [InlineData(TracIn.GradientSimilarity.Cosine)]
    public void GradientsThatAreNotFiniteThoughLossesAre(TracIn.GradientSimilarity similarity)
    {
        Tensor Root(ExampleBatch b) => (_c.Model.call(b["x"]).Squared().sum(1) * b["x"].select(1, 0).ne(0)).sqrt();
        _c.X[5, 0] = 0;
        var tracin = new TracIn { Similarity = similarity };

        var thrown = Assert.Throws<InfluenceException>(() => tracin.Score(_c.Task(Root), _c.Train, _c.Queries));
        Assert.Equal([5], thrown.ExampleIds);
        Assert.Contains("losses are finite", thrown.Message, StringComparison.Ordinal);

        thrown = Assert.Throws<InfluenceException>(() => tracin.Score(_c.Task(Root), _c.Queries, _c.Train));
        Assert.Equal([5], thrown.ExampleIds);
        Assert.Contains("queries", thrown.Message, StringComparison.Ordinal);

        thrown = Assert.Throws<InfluenceException>(() => new TracIn().SelfInfluence(_c.Task(Root), _c.Train));
        Assert.Equal([5], thrown.ExampleIds);
    }

    /// <summary>Both gradients fit float32, their product does not: no infinite score may come out.</summary>
    [Fact]
    public void AProductTooLargeForFloat32()
    {
        var layer = nn.Linear(1, 1, hasBias: false);
        var task = new InfluenceTask(layer) { TrainingLoss = b => layer.call(b[0]).squeeze(1) };
        var examples = Examples.FromTensors(tensor(new[] { 1f, 1e25f, 2f }).unsqueeze(1));

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, examples, examples));
        Assert.Contains(1L, thrown.ExampleIds);
        thrown = Assert.Throws<InfluenceException>(() => new TracIn().SelfInfluence(task, examples));
        Assert.Equal([1], thrown.ExampleIds);
    }

    [Fact]
    public void ExamplesOfAnotherDtype()
    {
        var thrown = Refused(_c.Task(), Examples.FromTensors(("x", _c.X.to_type(float32)), ("y", _c.Y)), _c.Queries);

        Assert.Contains("the model is Float64", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("x.to_type(ScalarType.Float64)", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SettingsOutOfRange()
    {
        Contains("MemoryBudget", () => _ = new TracIn { MemoryBudget = 0 });
        Contains(
            "cosine of a gradient with itself",
            () => new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }.SelfInfluence(_c.Task(), _c.Train)
        );
        Assert.Throws<ArgumentNullException>(() => new TracIn().Score(null!, _c.Train, _c.Queries));
        Assert.Throws<ArgumentNullException>(() => new TracIn().Score(_c.Task(), null!, _c.Queries));
        Assert.Throws<ArgumentNullException>(() => new TracIn().Score(_c.Task(), _c.Train, null!));
    }

    /// <summary>The error of a call that scored nothing.</summary>
    private InfluenceException Refused(InfluenceTask task, Examples? train = null, Examples? queries = null)
    {
        var reports = new Reports();
        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, train ?? _c.Train, queries ?? _c.Queries, reports));
        Assert.Empty(reports.All);
        return thrown;
    }

    private static void Contains(string words, Action act) =>
        Assert.Contains(words, Assert.Throws<InfluenceException>(act).Message, StringComparison.Ordinal);
}
