using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>Rows stored as int8, with one scale for each block of 128 numbers.</summary>
public sealed class Int8StoreTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    private static GradientProjection Int8 =>
        new()
        {
            Dimension = 1000,
            Dtype = ScalarType.Int8,
            ExamplesPerShard = 4,
        };

    /// <summary>Every number and every product, against the bounds that the docs state; layers that no multiple of 128 ends, zeros, and
    /// outliers.</summary>
    [Fact]
    public void TheErrorKeepsToTheStatedBound()
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(5);
        StoredLayer[] layers = [Layer("a", 300), Layer("b", 1), Layer("c", 128), Layer("d", 4096), Layer("e", 129)];
        var width = layers.Sum(l => l.Size());
        var rows = randn([20, width], ScalarType.Float64, generator: generator);
        rows.narrow(1, 300, 1).mul_(1e6);
        rows.narrow(1, 429, 128).zero_();
        rows.select(1, 700).mul_(1e4);
        rows.narrow(0, 3, 1).mul_(1e-30);
        var (numbers, scales) = Int8Blocks.Pack(rows, layers);
        Assert.Equal((ScalarType.Int8, ScalarType.Float32), (numbers.dtype, scales.dtype));
        Assert.Equal([20, 3 + 1 + 1 + 32 + 2], scales.shape);
        Assert.Equal(scales.shape[1], Int8Blocks.Count(layers));
        var back = Int8Blocks.Unpack(numbers, scales, layers);
        Assert.Equal(ScalarType.Float32, back.dtype);
        var error = (back.to_type(ScalarType.Float64) - rows).data<double>().ToArray();
        var given = rows.data<double>().ToArray();
        var query = randn([width], ScalarType.Float64, generator: generator).data<double>().ToArray();
        for (var row = 0; row < 20; row++)
        {
            var (change, bound) = (0.0, 0.0);
            foreach (var (first, count) in Blocks(layers))
            {
                var at = (int)((row * width) + first);
                var largest = given.Skip(at).Take(count).Max(Math.Abs);
                for (var i = 0; i < count; i++)
                {
                    Assert.True(Math.Abs(error[at + i]) <= largest / 254 * (1 + 1e-4), $"{error[at + i]} of a block with {largest}");
                    change += query[first + i] * error[at + i];
                    bound += Math.Abs(query[first + i]) * largest / 254 * (1 + 1e-4);
                }
            }

            Assert.True(Math.Abs(change) <= bound);
        }
    }

    /// <summary>Of normal numbers: a row's relative error, and a product's standard deviation over 400 rows, as the docs state
    /// them.</summary>
    [Fact]
    public void TheErrorOfNormalNumbersIsAsStated()
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(6);
        StoredLayer[] layers = [Layer("a", 4096)];
        var rows = randn([400, 4096], ScalarType.Float64, generator: generator);
        var query = randn([4096], ScalarType.Float64, generator: generator);
        var (numbers, scales) = Int8Blocks.Pack(rows, layers);
        var error = Int8Blocks.Unpack(numbers, scales, layers).to_type(ScalarType.Float64) - rows;
        Assert.InRange((error.norm() / rows.norm()).item<double>(), 0.005, 0.007);
        var changes = error.mv(query);
        var expected = (scales.to_type(ScalarType.Float64).pow(2) * query.pow(2).reshape(32, 128).sum(1) / 12).sum(1).sqrt(); // [400]
        Assert.Equal(1, (changes / expected).pow(2).mean().sqrt().item<double>(), 0.15); // four standard errors, 4 / sqrt(2 * 400)
        Assert.InRange((changes / (query.norm() * rows.pow(2).sum(1).sqrt())).pow(2).mean().sqrt().item<double>(), 0.7e-4, 1.3e-4);
    }

    /// <summary>Written and opened: all numbers within half a scale of the gradients by the loop; norms are exact still.</summary>
    [Fact]
    public void RoundTrip()
    {
        using var scope = NewDisposeScope();
        var gradients = _c.TrainGradients();
        GradientStore.Write(_c.Task(), _c.Train, Int8, _folder.Path("s"));
        var store = GradientStore.Open(_folder.Path("s"));
        Assert.Equal(ScalarType.Int8, store.Projection.Dtype);
        Assert.Equal(gradients.pow(2).sum(1).sqrt().data<double>().ToArray(), Norms(store), (a, b) => Math.Abs(a - b) < 1e-6);
        using var exact = new StoredGradients(
            GradientStore.Write(_c.Task(), _c.Train, Int8 with { Dtype = ScalarType.Float64 }, _folder.Path("e"))
        ).Score(_c.Task(), _c.Queries);
        using var scores = new StoredGradients(store).Score(_c.Task(), _c.Queries);
        Assert.Equal(ScalarType.Float32, scores.Values.dtype);
        Assert.InRange(SingleExampleLoop.RelativeError(scores.Values.to_type(ScalarType.Float64), exact.Values), 1e-6, 0.01);

        // 11 examples of 45 numbers in 4 layers: the norm, the loss, 4 scales and a byte a number; a hash in each of 3 files.
        Assert.Equal(
            (11 * (16 + (4 * 4) + store.Width)) + (3 * 32),
            Directory.GetFiles(store.Folder, "shard-*").Sum(f => new FileInfo(f).Length)
        );
        Assert.Contains("Int8", scores.Metadata.Notes, StringComparison.Ordinal);
        Assert.Contains(
            "Dtype (the store's: int8; now: float32)",
            Assert
                .Throws<InfluenceException>(() =>
                    GradientStore.Write(_c.Task(), _c.Train, Int8 with { Dtype = ScalarType.Float32 }, store.Folder)
                )
                .Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void WhatWasCutOffEndsTheSame()
    {
        var train = _c.Train with { BatchSize = 3 };
        GradientStore.Write(_c.Task(), train, Int8, _folder.Path("whole"));
        var expected = Contents("whole");
        for (var stop = 1; stop <= 3; stop++)
        {
            using var source = new CancellationTokenSource();
            var reports = 0;
            Assert.Throws<OperationCanceledException>(() =>
                GradientStore.Write(
                    _c.Task(),
                    train,
                    Int8,
                    _folder.Path($"cut{stop}"),
                    new Reports(_ => Cancel(++reports, source)),
                    source.Token
                )
            );
            GradientStore.Write(_c.Task(), train, Int8, _folder.Path($"cut{stop}"));
            Assert.Equal(expected, Contents($"cut{stop}"));

            void Cancel(int report, CancellationTokenSource token)
            {
                if (report == stop)
                {
                    token.Cancel();
                }
            }
        }

        File.Delete(_folder.Path("whole/shard-000001.bin"));
        GradientStore.Write(_c.Task(), train, Int8, _folder.Path("whole"));
        Assert.Equal(expected, Contents("whole"));
    }

    /// <summary>A bit of a norm, of a scale, of a number; a byte too few.</summary>
    [Theory]
    [InlineData(3)]
    [InlineData(40)]
    [InlineData(-1)]
    [InlineData(0)]
    public void DamageIsFound(int at)
    {
        var store = GradientStore.Write(_c.Task(), _c.Train, Int8, _folder.Path("s"));
        var shard = _folder.Path("s/shard-000001.bin");
        var bytes = File.ReadAllBytes(shard);
        var expected = Contents("s");
        if (at != 0)
        {
            bytes[at < 0 ? bytes.Length + at : at] ^= 1;
        }

        File.WriteAllBytes(shard, at == 0 ? bytes[..^1] : bytes);
        Refused(() => new StoredGradients(store).Score(_c.Task(), _c.Queries));
        Refused(() => GradientStore.Write(_c.Task(), _c.Train, Int8, store.Folder));
        File.Delete(shard);
        GradientStore.Write(_c.Task(), _c.Train, Int8, store.Folder);
        Assert.Equal(expected, Contents("s"));

        static void Refused(Func<object> call) =>
            Assert.Contains("shard-000001.bin is damaged", Assert.Throws<InfluenceException>(call).Message, StringComparison.Ordinal);
    }

    private static StoredLayer Layer(string name, long size) => new(name, size, 1, size, 1);

    private static IEnumerable<(int First, int Count)> Blocks(StoredLayer[] layers)
    {
        var first = 0;
        foreach (var size in layers.Select(l => (int)l.Size()))
        {
            for (var at = 0; at < size; at += 128)
            {
                yield return (first + at, Math.Min(128, size - at));
            }

            first += size;
        }
    }

    private static double[] Norms(GradientStore store)
    {
        var norms = new List<double>();
        store.Read((_, _, n) => norms.AddRange(n.to_type(ScalarType.Float64).data<double>().ToArray()), default);
        return [.. norms];
    }

    private Dictionary<string, string> Contents(string folder) =>
        Directory
            .EnumerateFiles(_folder.Path(folder))
            .ToDictionary(f => Path.GetFileName(f)!, f => Convert.ToHexString(File.ReadAllBytes(f)));
}
