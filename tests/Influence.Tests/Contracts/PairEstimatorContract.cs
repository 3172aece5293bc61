using Influence.Estimators;
using Influence.Groups;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Contracts;

/// <summary>What everything that scores pairs keeps to. A derived class says what it is.</summary>
public abstract class PairEstimatorContract : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    protected PairEstimatorContract()
    {
        // A state that nothing sets by chance.
        _c.Model.train();
        _c.Head.eval();
    }

    internal Classifier C => _c;

    private static ExampleGroups Groups => ExampleGroups.FromMembers(("even", [0, 2, 4, 6, 8, 10]), ("first", [0, 1, 2]));

    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>The estimator, as a user would write it.</summary>
    internal abstract IPairEstimator Estimator();

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(11)]
    public void BlocksAreTheScores(int atOnce)
    {
        using var expected = Score();
        using var sink = new Collecting(atOnce);
        var metadata = Estimator().ScoreInto(sink, _c.Task(), _c.Train with { BatchSize = 3 }, _c.Queries);

        InvarianceAssert(expected.Values, sink.Values!);
        Assert.Equal(expected.Metadata.WithoutCost(), metadata.WithoutCost());
        Assert.Equal(expected.QueryIds, sink.QueryIds);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(11)]
    public void TheStrongestAreThoseOfAllScores(int k)
    {
        using var expected = Score();
        var strongest = Estimator().Strongest(k, _c.Task(), _c.Train, _c.Queries);

        Assert.Equal((k, 11), (strongest.K, strongest.TrainCount));
        for (var q = 0; q < expected.QueryIds.Count; q++)
        {
            AssertRanking(expected.Proponents(q, k), strongest.Proponents(q));
            AssertRanking(expected.Opponents(q, k), strongest.Opponents(q));
        }
    }

    [Fact]
    public void TheFileHoldsAllScoresAndGivesParts()
    {
        using var expected = Score();
        var metadata = Estimator().ScoreToFile(_folder.Path("new/scores.safetensors"), _c.Task(), _c.Train, _c.Queries);
        using var read = InfluenceScores.Load(_folder.Path("new/scores.safetensors"));

        InvarianceAssert(expected.Values, read.Values);
        Assert.Equal(expected.QueryIds, read.QueryIds);
        Assert.Equal(expected.TrainIds, read.TrainIds);
        Assert.Equal(expected.Metadata.WithoutCost(), metadata.WithoutCost());
        Assert.Equal(metadata, read.Metadata);
        Assert.True(metadata.Cost!.Seconds > 0);
        using var part = InfluenceScores.LoadPart(
            _folder.Path("new/scores.safetensors"),
            [read.QueryIds[read.QueryIds.Count - 1], .. read.QueryIds.SkipLast(1).TakeLast(1)],
            [7, 2, 10]
        );
        Assert.Equal(read[read.QueryIds.Count - 1, 7], part[0, 0]);
        Assert.Equal(read[Math.Max(0, read.QueryIds.Count - 2), 10], part[part.QueryIds.Count - 1, 2]);
        Assert.Equal([7L, 2, 10], part.TrainIds);
    }

    [Fact]
    public void SumsByGroupAreSumsOfScores()
    {
        using var expected = Score();
        var sums = Estimator().SumByGroup(_c.Task(), _c.Train, Groups, _c.Queries);
        for (var q = 0; q < expected.QueryIds.Count; q++)
        {
            for (var g = 0; g < 2; g++)
            {
                double[] members = [.. Groups[Groups.Names[g]].Select(id => expected[q, (int)id])];
                var spread = members.Sum(s => Math.Pow(s - members.Average(), 2)) / (members.Length - 1);
                Assert.Equal(members.Sum(), sums.Sum(q, g), Math.Abs(members.Sum() * 1e-9) + 1e-12);
                Assert.Equal(Math.Sqrt(spread * members.Length), sums.StandardError(q, g), Math.Sqrt(spread) * 1e-6);
            }
        }
    }

    [Fact]
    public void TheModelAndTheTensorsAreAsBefore()
    {
        var estimator = Estimator();
        var state = ModelState.Of(_c.Model, _c.X);
        var live = LiveTensors.OnThisThread;
        var reports = new Reports();
        estimator.Strongest(2, _c.Task(), _c.Train with { BatchSize = 4 }, _c.Queries, reports);

        Assert.Equal(live, LiveTensors.OnThisThread);
        state.AssertUnchanged(_c.Model, _c.X);
        Assert.NotEmpty(reports.All);
    }

    [Fact]
    public void ACancelledCallLeavesNothing()
    {
        var estimator = Estimator();
        File.WriteAllText(_folder.Path("scores.safetensors"), "older");
        var state = ModelState.Of(_c.Model, _c.X);
        var live = LiveTensors.OnThisThread;
        using var source = new CancellationTokenSource();
        Assert.ThrowsAny<OperationCanceledException>(() =>
            estimator.ScoreToFile(
                _folder.Path("scores.safetensors"),
                _c.Task(),
                _c.Train with
                {
                    BatchSize = 2,
                },
                _c.Queries,
                new Reports(_ => source.Cancel()),
                source.Token
            )
        );

        Assert.Equal(live, LiveTensors.OnThisThread);
        state.AssertUnchanged(_c.Model, _c.X);
        Assert.Equal(["scores.safetensors"], _folder.Files);
        Assert.Equal("older", File.ReadAllText(_folder.Path("scores.safetensors")));
    }

    [Fact]
    public void BadInput()
    {
        var reports = new Reports();
        foreach (var k in new[] { 0, 12 })
        {
            Contains($"11; found {k}", () => Estimator().Strongest(k, _c.Task(), _c.Train, _c.Queries, reports));
        }

        File.WriteAllText(_folder.Path("file"), "not a folder");
        Contains(
            "Cannot write",
            () => Estimator().ScoreToFile(_folder.Path("file/scores.safetensors"), _c.Task(), _c.Train, _c.Queries, reports)
        );
        Contains(".safetensors", () => Estimator().ScoreToFile(_folder.Path("scores.csv"), _c.Task(), _c.Train, _c.Queries, reports));
        Contains(
            "none of the training examples has",
            () => Estimator().SumByGroup(_c.Task(), _c.Train, ExampleGroups.FromMembers(("strangers", [99])), _c.Queries, reports)
        );
        Contains(
            "ids that repeat",
            () => Estimator().Strongest(1, _c.Task(), _c.Train with { Ids = [.. new long[11]] }, _c.Queries, reports)
        );
        Assert.Empty(reports.All);
        Assert.Equal(["file"], _folder.Files);
    }

    [Fact]
    public void DisposedData()
    {
        var estimator = Estimator();
        var x = _c.X.clone();
        var train = Examples.FromTensors(("x", x), ("y", _c.Y));
        x.Dispose();
        var live = LiveTensors.OnThisThread;
        Assert.ThrowsAny<Exception>(() => estimator.ScoreToFile(_folder.Path("scores.safetensors"), _c.Task(), train, _c.Queries));
        Assert.Equal(live, LiveTensors.OnThisThread);
        Assert.Empty(_folder.Files);
    }

    protected virtual void Dispose(bool disposing)
    {
        _c.Dispose();
        _folder.Dispose();
    }

    internal Checkpoint Saved(string name, double factor, double rate, long step)
    {
        using var noGrad = no_grad();
        _c.Hidden.weight.mul_(factor);
        var saved = Checkpoint.Save(_folder.Path($"checkpoints/{name}.safetensors"), _c.Model, rate, step);
        _c.Hidden.weight.div_(factor);
        return saved;
    }

    private static void AssertRanking(RankedExamples expected, RankedExamples found)
    {
        Assert.Equal(expected.Ids, found.Ids);
        Assert.Equal(expected.ToString().Split('\n')[0], found.ToString().Split('\n')[0]);
        foreach (var (one, other) in expected.Zip(found))
        {
            Assert.Equal((one.Rank, one.Score), (other.Rank, other.Score));
        }
    }

    private static void InvarianceAssert(Tensor expected, Tensor found)
    {
        using var scope = NewDisposeScope();
        var error = (expected - found).abs().max().item<double>() / expected.abs().max().item<double>();
        Assert.True(error < 1e-10, $"relative error {error}");
    }

    private static void Contains(string expected, Action call) =>
        Assert.Contains(expected, Assert.Throws<InfluenceException>(call).Message, StringComparison.Ordinal);

    private InfluenceScores Score() => Estimator().Score(_c.Task(), _c.Train, _c.Queries);

    /// <summary>A sink of a user's own, with a block size of its own.</summary>
    private sealed class Collecting(int atOnce) : ScoreSink
    {
        public Tensor? Values { get; private set; }

        public override int ExamplesAtOnce(int queries, int train) => atOnce;

        protected override void Start() => Values = full([QueryIds.Count, TrainIds.Count], double.NaN, Dtype).DetachFromDisposeScope();

        protected override void Take(int query, int train, Tensor values) =>
            Values!.narrow(0, query, values.shape[0]).narrow(1, train, values.shape[1]).copy_(values);

        protected override void Dispose(bool disposing)
        {
            Values?.Dispose();
            base.Dispose(disposing);
        }
    }
}
