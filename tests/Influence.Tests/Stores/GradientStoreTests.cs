using Influence.Curvature;
using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>Projected gradients on disk, and scores from them.</summary>
public sealed class GradientStoreTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    private static GradientProjection Whole(ScalarType dtype = ScalarType.Float64) =>
        new()
        {
            Dimension = 1000,
            Dtype = dtype,
            ExamplesPerShard = 4,
        };

    private static GradientProjection Small(long seed = 0) =>
        new()
        {
            Dimension = 3,
            Dtype = ScalarType.Float64,
            ExamplesPerShard = 4,
            Seed = seed,
        };

    [Theory]
    [InlineData(TracIn.GradientSimilarity.Dot)]
    [InlineData(TracIn.GradientSimilarity.Cosine)]
    public void WithRoomForAllScoresAreThoseOfTracIn(TracIn.GradientSimilarity similarity)
    {
        using var scope = NewDisposeScope();
        var state = ModelState.Of(_c.Model, _c.X);
        using var expected = new TracIn { Similarity = similarity }.Score(_c.Task(), _c.Train, _c.Queries);
        GradientStore.Write(_c.Task(), _c.Train with { BatchSize = 3 }, Whole(), _folder.Path("s"));
        using var scores = new StoredGradients(GradientStore.Open(_folder.Path("s"))) { Similarity = similarity }.Score(
            _c.Task(),
            _c.Queries
        );
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < 1e-12);
        Assert.Equal(expected.TrainIds, scores.TrainIds);
        state.AssertUnchanged(_c.Model, _c.X);
    }

    [Theory]
    [InlineData(ScalarType.Float32, 1e-5)]
    [InlineData(ScalarType.Float16, 1e-3)] // 2^-11 of the largest number of a row
    [InlineData(ScalarType.Int8, 1e-2)] // 1/254 of the largest number of a block
    public void StoredInFewerBits(ScalarType dtype, double tolerance)
    {
        using var scope = NewDisposeScope();
        using var expected = new TracIn().Score(_c.Task(), _c.Train, _c.Queries);
        var store = GradientStore.Write(_c.Task(), _c.Train, Whole(dtype), _folder.Path("s"));
        using var scores = new StoredGradients(store).Score(_c.Task(), _c.Queries);
        Assert.Equal(ScalarType.Float32, scores.Values.dtype);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values.to_type(ScalarType.Float64), expected.Values) < tolerance);
    }

    [Theory]
    [InlineData("linear over positions")]
    [InlineData("conv2d strided")]
    [InlineData("conv2d grouped")]
    [InlineData("embedding")]
    [InlineData("tied embedding and head")]
    [InlineData("tied linear twice")]
    [InlineData("layer norm")]
    [InlineData("raw parameter")]
    [InlineData("frozen weight")]
    public void EveryKindOfBlock(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (Examples.FromTensors(made.Inputs(5)), Examples.FromTensors(made.Inputs(2)));
        using var expected = new TracIn().Score(made.Task(), train, queries);
        using var scores = new StoredGradients(
            GradientStore.Write(made.Task(), train, Whole() with { ExamplesPerShard = 5 }, _folder.Path("s"))
        ).Score(made.Task(), queries);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < 1e-10);

        // The projection by factors is that of the gradient written out.
        var projection = new GradientProjection { Dimension = 2, Dtype = ScalarType.Float64 };
        var store = GradientStore.Write(made.Task(), train, projection, _folder.Path("p"));
        var gradients = new Dictionary<string, Tensor>();
        var whole = GradientStore.Open(_folder.Path("s"));
        whole.Read((_, rows, _) => Split(whole, rows, gradients), default);
        var projected = new Dictionary<string, Tensor>();
        store.Read((_, rows, _) => Split(store, rows, projected), default);
        foreach (var layer in store.Layers)
        {
            var g = gradients[layer.Name].reshape(-1, layer.Outputs, layer.Inputs);
            var left = SignMatrix.Of(0, layer.Name, "outputs", layer.Outputs, layer.KeptOutputs, ScalarType.Float64, CPU);
            var right = SignMatrix.Of(0, layer.Name, "inputs", layer.Inputs, layer.KeptInputs, ScalarType.Float64, CPU);
            g = left is null ? g : left.t().matmul(g);
            g = right is null ? g : g.matmul(right);
            Assert.True(SingleExampleLoop.RelativeError(projected[layer.Name], g.reshape(5, -1)) < 1e-10, layer.Name);
        }

        static void Split(GradientStore store, Tensor rows, Dictionary<string, Tensor> into)
        {
            long at = 0;
            foreach (var layer in store.Layers)
            {
                into[layer.Name] = rows.narrow(1, at, layer.Size()).clone().MoveToOuterDisposeScope();
                at += layer.Size();
            }
        }
    }

    [Fact]
    public void BatchesAndOrderDoNotMatter()
    {
        using var scope = NewDisposeScope();
        using var expected = new StoredGradients(GradientStore.Write(_c.Task(), _c.Train, Small(), _folder.Path("a"))).Score(
            _c.Task(),
            _c.Queries
        );
        using var single = new StoredGradients(
            GradientStore.Write(
                _c.Task(),
                _c.Train with
                {
                    BatchSize = 1,
                },
                Small() with
                {
                    ExamplesPerShard = 5,
                    MemoryBudget = 1,
                },
                _folder.Path("b")
            )
        ).Score(_c.Task(), _c.Queries);
        var reversed = Examples.FromTensors(("x", _c.X.flip(0)), ("y", _c.Y.flip(0)));
        using var turned = new StoredGradients(
            GradientStore.Write(_c.Task(), reversed with { BatchSize = 3 }, Small(), _folder.Path("c"))
        ).Score(_c.Task(), _c.Queries);
        Assert.True(SingleExampleLoop.RelativeError(single.Values, expected.Values) < 1e-12);
        Assert.True(SingleExampleLoop.RelativeError(turned.Values.flip(1), expected.Values) < 1e-12);
    }

    /// <summary>Cut off after each batch in turn, and once more between a shard and the manifest: the same call ends with the same
    /// files.</summary>
    [Theory]
    [InlineData(3)]
    [InlineData(11)]
    public void WhatWasCutOffEndsTheSame(int batchSize)
    {
        var train = _c.Train with { BatchSize = batchSize };
        GradientStore.Write(_c.Task(), train, Small(), _folder.Path("whole"));
        var expected = Contents("whole");
        Assert.Equal(["ids.bin", "manifest.json", "shard-000000.bin", "shard-000001.bin", "shard-000002.bin"], expected.Keys.Order());
        for (var stop = 1; stop <= 4; stop++)
        {
            var folder = $"cut{stop}";
            using var source = new CancellationTokenSource();
            var reports = 0;
            var progress = new Reports(_ =>
            {
                if (++reports == stop)
                {
                    source.Cancel();
                }
            });
            try
            {
                GradientStore.Write(_c.Task(), train, Small(), _folder.Path(folder), progress, source.Token);
            }
            catch (OperationCanceledException)
            {
                Assert.Contains(
                    "is not complete",
                    Assert.Throws<InfluenceException>(() => GradientStore.Open(_folder.Path(folder))).Message
                );
            }

            // A shard that was renamed when the process died, and is in no manifest yet.
            File.Copy(
                Path.Combine(_folder.Path("whole"), "shard-000002.bin"),
                Path.Combine(_folder.Path(folder), "shard-000002.bin"),
                overwrite: true
            );
            GradientStore.Write(_c.Task(), train, Small(), _folder.Path(folder));
            Assert.Equal(expected, Contents(folder));
        }

        File.Delete(Path.Combine(_folder.Path("whole"), "shard-000001.bin"));
        Assert.Contains("shard-000001.bin", Assert.Throws<InfluenceException>(() => GradientStore.Open(_folder.Path("whole"))).Message);
        GradientStore.Write(_c.Task(), train, Small(), _folder.Path("whole"));
        Assert.Equal(expected, Contents("whole"));
    }

    [Fact]
    public void WhatDoesNotFitIsRefusedByName()
    {
        var folder = _folder.Path("s");
        var store = GradientStore.Write(_c.Task(), _c.Train, Small(), folder);
        Refused("Seed (the store's: 0; now: 1)", () => GradientStore.Write(_c.Task(), _c.Train, Small(1), folder));
        Refused(
            "Dimension (the store's: 3; now: 2)",
            () => GradientStore.Write(_c.Task(), _c.Train, Small() with { Dimension = 2 }, folder)
        );
        Refused("number of examples (the store's: 11; now: 4)", () => GradientStore.Write(_c.Task(), _c.Queries, Small(), folder));
        Refused("Dtype", () => GradientStore.Write(_c.Task(), _c.Train, Small() with { Dtype = ScalarType.Float32 }, folder));
        Refused("manifest.json", () => GradientStore.Open(_folder.Path("none")));
        Refused(
            "is not in",
            () =>
                new StoredGradients(store).Score(
                    _c.Task(),
                    Examples.FromTensors(("x", cat([_c.X, _c.X], 0)), ("y", cat([_c.Y, _c.Y], 0))),
                    _c.Queries
                )
        );
        Refused("Damping", () => new StoredGradients(store) { Damping = Damping.Absolute(0) });
        Refused(
            "other layers",
            () =>
                new StoredGradients(store).Score(
                    new InfluenceTask(_c.Model)
                    {
                        TrainingLoss = _c.Loss,
                        Layers = LayerSelection.Where(n => n.StartsWith("head", StringComparison.Ordinal)),
                    },
                    _c.Queries
                )
        );

        // The same ids, and other data.
        var turned = Examples.FromTensors(("x", _c.X.flip(0)), ("y", _c.Y.flip(0)));
        Refused("id 0 is not the one", () => GradientStore.Write(_c.Task(), turned, Small(), folder));
        Refused("id 0 is not the one", () => new StoredGradients(store).Score(_c.Task(), turned, _c.Queries));

        var shard = Path.Combine(folder, "shard-000001.bin");
        var bytes = File.ReadAllBytes(shard);
        bytes[40] ^= 1;
        File.WriteAllBytes(shard, bytes);
        Refused("shard-000001.bin is damaged", () => new StoredGradients(GradientStore.Open(folder)).Score(_c.Task(), _c.Queries));
        Refused("shard-000001.bin is damaged", () => GradientStore.Write(_c.Task(), _c.Train, Small(), folder));
        File.WriteAllBytes(shard, bytes[..^1]);
        Refused("shard-000001.bin is damaged", () => new StoredGradients(store).Score(_c.Task(), _c.Queries));

        using (no_grad())
        {
            _c.Head.weight.mul_(1.5);
        }

        Refused("the model's weights", () => GradientStore.Write(_c.Task(), _c.Train, Small(), folder));
        Refused("other weights", () => new StoredGradients(store).Score(_c.Task(), _c.Queries));
        Assert.Throws<InfluenceException>(() => new GradientProjection { Dimension = 0 });
        Assert.Throws<InfluenceException>(() => new GradientProjection { Dtype = ScalarType.Int64 });
    }

    /// <summary>The mean over seeds lies within four standard errors of the exact product.</summary>
    [Fact]
    public void InnerProductsAreKeptOnAverage()
    {
        using var scope = NewDisposeScope();
        var (train, queries) = (_c.Train.Only([0]), _c.Queries.Only([0]));
        using var exact = new TracIn().Score(_c.Task(), train, queries);
        const int Seeds = 60;
        double[] products =
        [
            .. Enumerable
                .Range(0, Seeds)
                .Select(seed =>
                {
                    var store = GradientStore.Write(
                        _c.Task(),
                        train,
                        new GradientProjection
                        {
                            Dimension = 2,
                            Seed = seed,
                            Dtype = ScalarType.Float64,
                        },
                        _folder.Path($"{seed}")
                    );
                    using var scores = new StoredGradients(store).Score(_c.Task(), queries);
                    return scores.Values.item<double>();
                }),
        ];
        var mean = products.Average();
        var error = Math.Sqrt(products.Sum(p => (p - mean) * (p - mean)) / (Seeds - 1) / Seeds);
        Assert.True(error > 0);
        Assert.Equal(exact.Values.item<double>(), mean, 4 * error);
    }

    /// <summary>LoGRA, whole and in groups of one layer, against matrices that are written out.</summary>
    [Theory]
    [InlineData(1 << 30)]
    [InlineData(1)]
    public void LograIsItsFormula(long budget)
    {
        using var scope = NewDisposeScope();
        var expected = zeros([4, 11], ScalarType.Float64);
        foreach (var name in new[] { "hidden.weight", "hidden.bias", "head.weight", "head.bias" })
        {
            var (g, q) = (_c.TrainGradients(n => n == name), _c.QueryGradients(n => n == name));
            var fisher = g.t().mm(g) / 11;
            var damped = fisher + (0.1 * fisher.trace() / fisher.shape[0] * eye(fisher.shape[0], dtype: ScalarType.Float64));
            expected += q.mm(damped.inverse()).mm(g.t());
        }

        var store = GradientStore.Write(_c.Task(), _c.Train, Whole(), _folder.Path("s"));
        using var scores = new StoredGradients(store) { Damping = Damping.Default, MemoryBudget = budget }.Score(_c.Task(), _c.Queries);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-10);
        Assert.Equal(1.0 / 11, scores.Metadata.LeaveOneOutFactor);
        Refused(
            "cosine",
            () =>
                new StoredGradients(store) { Damping = Damping.Default, Similarity = TracIn.GradientSimilarity.Cosine }.Score(
                    _c.Task(),
                    _c.Queries
                )
        );
    }

    [Fact]
    public void TheStrongestAndSomeExamples()
    {
        using var scope = NewDisposeScope();
        var estimator = new StoredGradients(GradientStore.Write(_c.Task(), _c.Train, Small(), _folder.Path("s")));
        using var scores = estimator.Score(_c.Task(), _c.Queries);
        var strongest = estimator.Strongest(3, _c.Task(), _c.Queries);
        for (var q = 0; q < 4; q++)
        {
            Assert.Equal(scores.Proponents(q, 3).Select(e => e.Id), strongest.Proponents(q).Select(e => e.Id));
            Assert.Equal(scores.Opponents(q, 3).Select(e => e.Id), strongest.Opponents(q).Select(e => e.Id));
        }

        using var some = estimator.Score(_c.Task(), _c.Train.Only([1, 5, 6, 10]), _c.Queries);
        Assert.True(
            SingleExampleLoop.RelativeError(some.Values, scores.Values.index_select(1, tensor(new long[] { 1, 5, 6, 10 }))) < 1e-12
        );
    }

    [Fact]
    public void NothingStaysAlive()
    {
        GradientStore.Write(_c.Task(), _c.Train, Small(), _folder.Path("a"));
        new StoredGradients(GradientStore.Open(_folder.Path("a"))) { Damping = Damping.Default }
            .Score(_c.Task(), _c.Queries)
            .Dispose();
        var before = LiveTensors.OnThisThread;
        var store = GradientStore.Write(_c.Task(), _c.Train with { BatchSize = 3 }, Small(), _folder.Path("b"));
        new StoredGradients(store) { Damping = Damping.Default }
            .Score(_c.Task(), _c.Queries)
            .Dispose();
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    private static void Refused(string expected, Func<object> call) =>
        Assert.Contains(expected, Assert.Throws<InfluenceException>(call).Message);

    private Dictionary<string, string> Contents(string folder) =>
        Directory
            .EnumerateFiles(_folder.Path(folder))
            .ToDictionary(f => Path.GetFileName(f)!, f => Convert.ToHexString(File.ReadAllBytes(f)));
}
