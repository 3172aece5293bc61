using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Selection;

/// <summary>From a selection to what a DataLoader reads.</summary>
public sealed class SelectedDatasetTests
{
    private static readonly SelectedExamples s_selected = Weighted();

    [Fact]
    public void ATensorDatasetGivesThePicksInTheirOrder()
    {
        using var scope = NewDisposeScope();
        using var source = utils.data.TensorDataset(arange(10, ScalarType.Float32).unsqueeze(1), arange(10, ScalarType.Int64));
        var data = s_selected.From(source, weighted: true);
        Assert.Equal([7, 2, 5, 0], data.Ids);
        Assert.Equal(4, data.Count);
        var batches = new List<(float[] X, long[] Y, float[] Weight)>();
        using (var loader = utils.data.DataLoader(data, 3))
        {
            Assert.Equal(2, loader.Count);
            foreach (var batch in loader)
            {
                Assert.Equal([batch[1].shape[0], 1], batch[0].shape);
                batches.Add((batch[0].data<float>().ToArray(), batch[1].data<long>().ToArray(), batch[2].data<float>().ToArray()));
            }
        }

        Assert.Equal([7, 2, 5, 0], batches.SelectMany(b => b.Y));
        Assert.Equal([7, 2, 5, 0], batches.SelectMany(b => b.X));
        Assert.Equal([4, 3, 2, 0], batches.SelectMany(b => b.Weight));
        Assert.Equal(3, source.GetTensor(3)[1].item<long>()); // the loader disposed the selection, not the source
        Assert.Equal(2, s_selected.From(source).GetTensor(0).Count);
    }

    [Fact]
    public void ADictionaryDatasetGetsAWeightByName()
    {
        using var scope = NewDisposeScope();
        using var source = new Squares();
        using var loader = utils.data.DataLoader(s_selected.From(source, ids: source.Ids, weight: "w"), 4, num_worker: 2);
        var batch = Assert.Single(
            loader.Select(b =>
                (Keys: b.Keys.Order().ToArray(), X: b["x"].data<float>().ToArray(), W: b["w"].data<float>().ToArray(), b["w"].shape)
            )
        );
        Assert.Equal(["w", "x"], batch.Keys);
        Assert.Equal([49f, 4f, 25f, 0f], batch.X);
        Assert.Equal([4f, 3f, 2f, 0f], batch.W);
        Assert.Equal([4L], batch.shape);
        Assert.Equal(["x"], s_selected.From(source, source.Ids).GetTensor(1).Keys);
        Assert.Contains(
            "another name",
            Assert.Throws<InfluenceException>(() => s_selected.From(source, source.Ids, "x").GetTensor(1)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void IdsThatTheDataLacksAreNamed()
    {
        using var scope = NewDisposeScope();
        using var source = utils.data.TensorDataset(arange(6));
        Assert.Equal([7L], Assert.Throws<InfluenceException>(() => s_selected.From(source)).ExampleIds);
        Assert.Equal([7L, 5], Assert.Throws<InfluenceException>(() => s_selected.From(source, [0, 1, 2, 3, 4, 9])).ExampleIds);
        Assert.Contains(
            "found 3",
            Assert.Throws<InfluenceException>(() => s_selected.From(source, [7, 2, 5])).Message,
            StringComparison.Ordinal
        );
        Assert.Equal([2L], Assert.Throws<InfluenceException>(() => s_selected.Sampler([7, 2, 2, 5, 0])).ExampleIds);
    }

    [Fact]
    public void NothingStaysAlive()
    {
        using var scope = NewDisposeScope();
        using var source = utils.data.TensorDataset(arange(10));
        var before = LiveTensors.OnThisThread;
        using (var loader = utils.data.DataLoader(s_selected.From(source, weighted: true), 3))
        {
            Assert.Equal(2, loader.Count(batch => batch[1].shape[0] > 0));
        }

        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    /// <summary>Over the whole data set: the loader draws the picks only, and ids of the batches are known to Examples.</summary>
    [Fact]
    public void ASamplerOverTheWholeData()
    {
        using var scope = NewDisposeScope();
        using var source = utils.data.TensorDataset(arange(10, ScalarType.Int64));
        using var loader = utils.data.DataLoader(source, 3, s_selected.Sampler(), disposeDataset: false);
        Assert.Equal([7, 2, 5, 0], loader.SelectMany(batch => batch[0].data<long>().ToArray()));
        Assert.Equal([7, 2, 5, 0], Examples.FromLoader(loader).Ids);
        Assert.Equal([3L, 1, 0, 2], s_selected.Sampler([5, 2, 0, 7]).ToArray());
    }

    [Fact]
    public void AShuffledSamplerHasAnotherOrderEachPass()
    {
        using var scope = NewDisposeScope();
        using var source = utils.data.TensorDataset(arange(200, ScalarType.Int64));
        var half = new RandomSelection().Select(
            ExampleScores.Of([.. Enumerable.Range(0, 200)], new double[200]),
            SelectionBudget.Fraction(0.5)
        );
        long[][] Passes(long seed)
        {
            using var data = half.From(source);
            using var loader = utils.data.DataLoader(data, 32, half.ShuffledSampler(seed, data.Ids));
            return [.. Enumerable.Range(0, 3).Select(_ => loader.SelectMany(batch => batch[0].data<long>().ToArray()).ToArray())];
        }

        var passes = Passes(4);
        Assert.All(passes, pass => Assert.Equal(half.Ids.Order(), pass.Order()));
        Assert.Equal(3, passes.Select(pass => string.Join(' ', pass)).Distinct().Count());
        Assert.Equal(passes, Passes(4));
        Assert.NotEqual(passes, Passes(5));
    }

    [Fact]
    public void AWeightedSamplerDrawsInProportion()
    {
        const int Draws = 20_000;
        var sampler = s_selected.WeightedSampler(seed: 1, count: Draws);
        Assert.Equal(Draws, sampler.Count);
        var (first, second) = (sampler.ToArray(), sampler.ToArray());
        Assert.NotEqual(first, second);
        Assert.Equal(first, s_selected.WeightedSampler(1, Draws).ToArray());
        Assert.Equal(4, s_selected.WeightedSampler(1).ToArray().Length);
        foreach (var (id, weight) in s_selected.Ids.Zip(s_selected.Weights))
        {
            // Four standard deviations of a frequency: 4 sqrt(0.25 / 20,000) = 0.014.
            Assert.Equal(weight / 9, first.Count(i => i == id) / (double)Draws, 0.014);
        }

        Assert.DoesNotContain(0L, first); // the one of weight zero
        Assert.Throws<InfluenceException>(() => s_selected.WeightedSampler(1, 0));
    }

    [Fact]
    public void WeightsThatAreAllZeroCannotBeDrawn()
    {
        using var pool = new SelectionPool([1, 2]);
        var selected = new FixedWeights([0, 0]).Select(pool, SelectionBudget.Count(2));
        Assert.Contains("zero", Assert.Throws<InfluenceException>(() => selected.WeightedSampler(1)).Message, StringComparison.Ordinal);
    }

    private static SelectedExamples Weighted()
    {
        using var pool = new SelectionPool(ExampleScores.Of([0, 2, 5, 7], [1, 3, 2, 4]));
        return new FixedWeights([4, 3, 2, 0]).Select(pool, SelectionBudget.Count(4));
    }

    /// <summary>Top-k with given weights, and a test of the weights that a strategy of one's own may set.</summary>
    private sealed record FixedWeights(double[] Given) : SelectionStrategy
    {
        public override string Name => "fixed";

        protected override void Pick(SelectionPool pool, Picks picks, Run run)
        {
            var relevance = pool.Scores is null ? new double[pool.Count] : Relevance.Of(pool, ScoreAggregation.Mean);
            picks.AddInOrder(Relevance.Descending(relevance), relevance);
            Assert.Throws<ArgumentException>(() => picks.Weigh([double.NaN, .. Given.Skip(1)]));
            Assert.Throws<ArgumentException>(() => picks.Weigh([-1, .. Given.Skip(1)]));
            Assert.Throws<ArgumentException>(() => picks.Weigh([.. Given, 1]));
            picks.Weigh(Given);
        }
    }

    /// <summary>Ten examples that are kept, so that a weight must not end up in them.</summary>
    private sealed class Squares : utils.data.Dataset
    {
        private readonly Dictionary<string, Tensor>[] _examples =
        [
            .. Enumerable
                .Range(0, 10)
                .Select(i => new Dictionary<string, Tensor> { ["x"] = tensor((float)((9 - i) * (9 - i))).DetachFromDisposeScope() }),
        ];

        public long[] Ids { get; } = [.. Enumerable.Range(0, 10).Select(i => 9L - i)];

        public override long Count => 10;

        public override Dictionary<string, Tensor> GetTensor(long index) => _examples[index];

        protected override void Dispose(bool disposing)
        {
            Array.ForEach(_examples, example => example["x"].Dispose());
            base.Dispose(disposing);
        }
    }
}
