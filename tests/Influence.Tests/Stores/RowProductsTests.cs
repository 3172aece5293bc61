using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>Rows are multiplied where they are mapped; the same products by rows that are written out.</summary>
public sealed class RowProductsTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new(37, 9);

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    /// <summary>Of one to four queries rows are read as they lie, of more they are written out; widths that no vector's length divides.
    /// Float32 sums in another order; int8 takes queries of 16 bits.</summary>
    [Theory]
    [InlineData(ScalarType.Float32, 1, 1e-5)]
    [InlineData(ScalarType.Float32, 3, 1e-5)]
    [InlineData(ScalarType.Float16, 1, 1e-5)]
    [InlineData(ScalarType.Float16, 4, 1e-5)]
    [InlineData(ScalarType.Int8, 1, 3e-4)]
    [InlineData(ScalarType.Int8, 4, 3e-4)]
    public void ProductsAreThoseOfTheRows(ScalarType type, int queries, double tolerance)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(3);
        var store = GradientStore.Write(
            _c.Task(),
            _c.Train,
            new GradientProjection
            {
                Dimension = 1000,
                Dtype = type,
                ExamplesPerShard = 10,
            },
            _folder.Path("s")
        );
        var q = randn([queries, store.Width], generator: generator);
        var (expected, found) = (new List<Tensor>(), new List<Tensor>());
        store.Read((_, rows, _) => expected.Add(q.mm(rows.t()).MoveToOuterDisposeScope()), default);
        store.Scan(q, (_, products, _) => found.Add(products.clone().DetachFromDisposeScope()), _ => true, default);
        var more = cat([q, q, q, q, q], 0);
        var written = new List<Tensor>();
        store.Scan(
            more,
            (_, products, _) => written.Add(products.narrow(0, 0, queries).clone().DetachFromDisposeScope()),
            _ => true,
            default
        );
        Assert.True(SingleExampleLoop.RelativeError(Joined(found), Joined(expected)) < tolerance);
        Assert.True(SingleExampleLoop.RelativeError(Joined(written), Joined(expected)) < 1e-5);

        static Tensor Joined(List<Tensor> parts) => cat(parts, 1).to_type(ScalarType.Float64);
    }

    /// <summary>Every rounding to float16 is that of .NET: random numbers over the whole range, ties, subnormal numbers and
    /// zeros.</summary>
    [Fact]
    public unsafe void HalvesAreRoundedToNearest()
    {
        var random = new Random(2);
        var values = Enumerable.Range(0, 4003).Select(i => (float)((random.NextDouble() - 0.5) * Math.Pow(2, 16 - (i % 45)))).ToArray();
        (values[0], values[1], values[2], values[3]) = (RowPacking.LargestHalf, 0, -0f, 1 + MathF.Pow(2, -11));
        (values[4], values[5]) = (1 + (3 * MathF.Pow(2, -11)), MathF.Pow(2, -25));
        var (packed, back) = (new ushort[values.Length], new float[values.Length]);
        fixed (
            float* from = values,
                to = back
        )
        fixed (ushort* half = packed)
        {
            Assert.Equal(1, RowPacking.ToHalf(from, half, values.Length));
            RowPacking.FromHalf(half, 1, to, values.Length);
        }

        for (var i = 0; i < values.Length; i++)
        {
            Assert.Equal(BitConverter.HalfToUInt16Bits((Half)values[i]), packed[i]);
            Assert.Equal((float)(Half)values[i], back[i]);
        }
    }

    [Theory]
    [InlineData(1e-38f)]
    [InlineData(1e-20f)]
    [InlineData(3e38f)]
    [InlineData(0f)]
    public unsafe void ScalesReachAsFarAsFloat32(float largest)
    {
        var values = Enumerable.Range(0, 19).Select(i => largest * ((i - 9) / 9f)).ToArray();
        var (packed, back) = (new ushort[values.Length], new float[values.Length]);
        fixed (
            float* from = values,
                to = back
        )
        fixed (ushort* half = packed)
        {
            RowPacking.FromHalf(half, RowPacking.ToHalf(from, half, values.Length), to, values.Length);
        }

        for (var i = 0; i < values.Length; i++)
        {
            Assert.True(Math.Abs(back[i] - values[i]) <= largest / 2048, $"{values[i]} became {back[i]}");
        }
    }

    /// <summary>The scan's scores, with cosines and some of the examples, are those of the exact store.</summary>
    [Fact]
    public void ScoresOfOneQuery()
    {
        using var scope = NewDisposeScope();
        var projection = new GradientProjection
        {
            Dimension = 1000,
            Dtype = ScalarType.Float64,
            ExamplesPerShard = 10,
        };
        var exact = new StoredGradients(GradientStore.Write(_c.Task(), _c.Train, projection, _folder.Path("e")))
        {
            Similarity = TracIn.GradientSimilarity.Cosine,
        };
        var small = new StoredGradients(
            GradientStore.Write(_c.Task(), _c.Train, projection with { Dtype = ScalarType.Int8 }, _folder.Path("i"))
        )
        {
            Similarity = TracIn.GradientSimilarity.Cosine,
        };
        var query = _c.Queries.Only([3]);
        var some = _c.Train.Only([0, 1, 25, 36]);
        using var expected = exact.Score(_c.Task(), some, query);
        using var found = small.Score(_c.Task(), some, query);
        Assert.True((found.Values - expected.Values).abs().max().item<double>() < 0.01);
    }
}
