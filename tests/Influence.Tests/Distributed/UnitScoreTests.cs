using Influence.Curvature;
using Influence.Distributed;
using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Distributed;

/// <summary>Scores, self-influence and stores in units are those of one call.</summary>
public sealed class UnitScoreTests : IDisposable
{
    /// <summary>Float64; products of the same gradients in other batches.</summary>
    private const double Rounding = 1e-12;

    private readonly TempFolder _folder = new();
    private readonly Classifier _classifier = new(23, 5);
    private readonly Ekfac _fit;

    public UnitScoreTests() => _fit = Ekfac.Fit(_classifier.Task(), _classifier.Train);

    public void Dispose()
    {
        _fit.Dispose();
        _classifier.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(InfluenceFunction.QueryAggregation.None, InfluenceFunction.ScoreNormalization.None)]
    [InlineData(InfluenceFunction.QueryAggregation.None, InfluenceFunction.ScoreNormalization.Theta)]
    [InlineData(InfluenceFunction.QueryAggregation.Sum, InfluenceFunction.ScoreNormalization.None)]
    [InlineData(InfluenceFunction.QueryAggregation.Mean, InfluenceFunction.ScoreNormalization.Loss)]
    public void InfluenceIsThatOfOneCall(InfluenceFunction.QueryAggregation aggregation, InfluenceFunction.ScoreNormalization normalization)
    {
        var influence = new InfluenceFunction(_fit)
        {
            Tolerance = 0,
            Aggregation = aggregation,
            Normalization = normalization,
        };
        using var expected = influence.Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        using var scores = (influence with { Work = Work("scores") }).Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        AssertClose(expected, scores);
        Assert.Equal(expected.Metadata.WithoutCost(), scores.Metadata.WithoutCost());
    }

    /// <summary>Queries that do not fit are read again for each unit.</summary>
    [Fact]
    public void WithLittleMemoryTheSame()
    {
        var influence = new InfluenceFunction(_fit) { Tolerance = 0, MemoryBudget = 4000 };
        using var expected = influence.Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        using var scores = (influence with { Work = Work("scores") }).Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        AssertClose(expected, scores);
    }

    [Fact]
    public void EverySinkTakesThem()
    {
        var influence = new InfluenceFunction(_fit) { Work = Work("scores") };
        using var dense = influence.Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        var strongest = influence.Strongest(3, _classifier.Task(), _classifier.Train, _classifier.Queries);
        influence.ScoreToFile(_folder.Path("scores.safetensors"), _classifier.Task(), _classifier.Train, _classifier.Queries);
        using var file = InfluenceScores.Load(_folder.Path("scores.safetensors"));
        Assert.True(file.Values.equal(dense.Values).all().item<bool>());
        Assert.Equal(dense.Proponents(2, 3).Select(e => e.Id), strongest.Proponents(2).Select(e => e.Id));
    }

    [Fact]
    public void SelfInfluenceIsThatOfOneCall()
    {
        var influence = new InfluenceFunction(_fit);
        var expected = influence.SelfInfluence(_classifier.Task(), _classifier.Train);
        var scores = (influence with { Work = Work("self") }).SelfInfluence(_classifier.Task(), _classifier.Train);
        Assert.Equal(expected.Ids, scores.Ids);
        Assert.Equal(expected.Metadata.WithoutCost(), scores.Metadata.WithoutCost());
        Assert.All(expected.Values.Zip(scores.Values), p => Assert.Equal(p.First, p.Second, Rounding * expected.Values.Max()));
    }

    /// <summary>Queries as one: a single row, whatever it is made of, and another way of taking them together is another call.</summary>
    [Theory]
    [InlineData(InfluenceFunction.QueryAggregation.Mean, TracIn.GradientSimilarity.Dot)]
    [InlineData(InfluenceFunction.QueryAggregation.Sum, TracIn.GradientSimilarity.Dot)]
    [InlineData(InfluenceFunction.QueryAggregation.Mean, TracIn.GradientSimilarity.Cosine)]
    public void AggregatedTracInIsThatOfOneCall(InfluenceFunction.QueryAggregation aggregation, TracIn.GradientSimilarity similarity)
    {
        var tracIn = new TracIn { Aggregation = aggregation, Similarity = similarity };
        using var expected = tracIn.Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        var inUnits = tracIn with { Work = Work("together") };
        using var scores = inUnits.Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        Assert.Equal([-1L], scores.QueryIds);
        AssertClose(expected, scores);
        var apart = inUnits with { Aggregation = InfluenceFunction.QueryAggregation.None };
        var thrown = Assert.Throws<InfluenceException>(() => apart.Score(_classifier.Task(), _classifier.Train, _classifier.Queries));
        Assert.Contains("Aggregation", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WhatItTookIsSaidOfUnitsToo()
    {
        var influence = new InfluenceFunction(_fit) { Work = Work("scores") };
        using var scores = influence.Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        Assert.Contains("query pass", scores.Metadata.Cost!.Stages.Select(stage => stage.Name));
        Assert.NotNull((influence with { Work = Work("self") }).SelfInfluence(_classifier.Task(), _classifier.Train).Metadata.Cost);
    }

    [Fact]
    public void TracInIsThatOfOneCall()
    {
        var before = Checkpoint.Save(_folder.Path("a.safetensors"), _classifier.Model, 0.1, 1);
        using (no_grad())
        {
            _classifier.Head.weight!.mul_(1.1);
        }

        var tracIn = new TracIn { Checkpoints = [before, Checkpoint.Save(_folder.Path("b.safetensors"), _classifier.Model, 0.05, 2)] };
        using var expected = tracIn.Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        using var scores = (tracIn with { Work = Work("tracin") }).Score(_classifier.Task(), _classifier.Train, _classifier.Queries);
        AssertClose(expected, scores);
        Assert.Equal(expected.Metadata.WithoutCost(), scores.Metadata.WithoutCost());
        var self = tracIn.SelfInfluence(_classifier.Task(), _classifier.Train);
        var inUnits = (tracIn with { Work = Work("tracin self") }).SelfInfluence(_classifier.Task(), _classifier.Train);
        Assert.All(self.Values.Zip(inUnits.Values), p => Assert.Equal(p.First, p.Second, Rounding * self.Values.Max()));
    }

    /// <summary>Two processes' calls, interleaved on two threads of the folder's other ends, are covered by <see cref="KilledWorkTests"/>;
    /// here: one that begins in the middle.</summary>
    [Fact]
    public void AStoreOfAnyRankIsTheStore()
    {
        var projection = new GradientProjection
        {
            Dimension = 3,
            Dtype = ScalarType.Float64,
            ExamplesPerShard = 4,
        };
        GradientStore.Write(_classifier.Task(), _classifier.Train with { BatchSize = 10 }, projection, _folder.Path("whole"));
        GradientStore.Write(
            _classifier.Task(),
            _classifier.Train with
            {
                BatchSize = 10,
            },
            projection with
            {
                Work = new Work(_folder.Path("work")) { Rank = 2, Count = 3 },
            },
            _folder.Path("shared")
        );
        Assert.Equal(Contents("whole"), Contents("shared"));
    }

    [Fact]
    public void APrincipalStoreIsTheStore()
    {
        var projection = new GradientProjection
        {
            Dimension = 2,
            Form = GradientProjection.Kind.Principal,
            ExamplesPerShard = 8,
            Dtype = ScalarType.Int8,
        };
        GradientStore.Write(_classifier.Task(), _classifier.Train, projection, _folder.Path("whole"));
        GradientStore.Write(_classifier.Task(), _classifier.Train, projection with { Work = Work("work") }, _folder.Path("shared"));
        Assert.Equal(Contents("whole"), Contents("shared"));
    }

    /// <summary>Room is arithmetic; of the time only that there is one, as a loaded machine says nothing else.</summary>
    [Fact]
    public void WhatACallTakesIsEstimated()
    {
        var task = _classifier.Task();
        var scores = new InfluenceFunction(_fit) { Work = Work("scores"), MemoryBudget = 1000 };
        var cost = scores.Estimate(task, _classifier.Train, _classifier.Queries);
        Assert.Equal((4, 1000 + (5 * 23 * 8), true), (cost.Units, cost.MemoryBytes, cost.Time > TimeSpan.Zero));
        scores.Score(task, _classifier.Train, _classifier.Queries).Dispose();
        Assert.InRange(Bytes("scores", "*.safetensors"), 5 * 23 * 8, cost.DiskBytes);

        var projection = new GradientProjection { Dimension = 3, ExamplesPerShard = 6 };
        cost = GradientStore.Estimate(task, _classifier.Train, projection);
        GradientStore.Write(task, _classifier.Train, projection, _folder.Path("store"));
        Assert.Equal((4, Bytes("store", "*.bin")), (cost.Units, cost.DiskBytes));
        Assert.Contains("time of one process", cost.ToString(), StringComparison.Ordinal);

        var options = new Ekfac.Options { Work = Work("fit") };
        var fit = Ekfac.Estimate(task, _classifier.Train, options);
        Assert.Equal(0, Ekfac.Estimate(task, _classifier.Train).DiskBytes);
        var most = 0L;
        Ekfac.Fit(task, _classifier.Train, options, new Reports(_ => most = Math.Max(most, Bytes("fit", "*.safetensors")))).Dispose();
        Assert.InRange(most, 1, fit.DiskBytes);

        long Bytes(string folder, string files) => new DirectoryInfo(_folder.Path(folder)).EnumerateFiles(files).Sum(f => f.Length);
    }

    [Fact]
    public void WhatCannotBeCutIsRefused()
    {
        var task = _classifier.Task();
        var influence = new InfluenceFunction(_fit) { Work = Work("scores") };
        Assert.Contains(
            "Leverage",
            Refused(() =>
                (influence with { Normalization = InfluenceFunction.ScoreNormalization.Leverage }).Score(
                    task,
                    _classifier.Train,
                    _classifier.Queries
                )
            ),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "Leave Work out",
            Refused(() => influence.ScoreLayers(task, _classifier.Train, _classifier.Queries)),
            StringComparison.Ordinal
        );
        var segment = new Source.Segment([Checkpoint.Save(_folder.Path("a.safetensors"), _classifier.Model, 0.1, 1)], 10);
        Assert.Contains(
            "Curvature.Work",
            Refused(() => _ = new Source([segment]) { Curvature = new Ekfac.Options { Work = Work("fit") } }),
            StringComparison.Ordinal
        );
    }

    private static string Refused(Action call) => Assert.Throws<InfluenceException>(call).Message;

    private Work Work(string name) => new(_folder.Path(name)) { ExamplesPerUnit = 6 };

    private static void AssertClose(InfluenceScores expected, InfluenceScores scores)
    {
        Assert.Equal(expected.QueryIds, scores.QueryIds);
        Assert.Equal(expected.TrainIds, scores.TrainIds);
        var error = (expected.Values - scores.Values).abs().max().item<double>();
        Assert.True(error <= Rounding * expected.Values.abs().max().item<double>(), $"{error}");
    }

    private Dictionary<string, string> Contents(string folder) =>
        Directory
            .EnumerateFiles(_folder.Path(folder))
            .ToDictionary(f => Path.GetFileName(f)!, f => Convert.ToHexString(File.ReadAllBytes(f)));
}
