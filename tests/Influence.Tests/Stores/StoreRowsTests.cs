using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>Rows and queries as another library's index gets them.</summary>
public sealed class StoreRowsTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    /// <summary>Their products are the store's scores, in its types' rounding.</summary>
    [Theory]
    [InlineData(ScalarType.Float64, 1e-12)]
    [InlineData(ScalarType.Float32, 1e-6)]
    public void ProductsOfRowsAreTheScores(ScalarType type, double tolerance)
    {
        var store = GradientStore.Write(
            _c.Task(),
            _c.Train,
            new GradientProjection
            {
                Dimension = 2,
                Dtype = type,
                ExamplesPerShard = 4,
            },
            _folder.Path("s")
        );
        using var scores = new StoredGradients(store).Score(_c.Task(), _c.Queries);
        using var queries = store.ProjectQueries(_c.Task(), _c.Queries);
        var ids = new List<long>();
        store.ReadRows(
            (some, rows) =>
            {
                Assert.Equal([some.Count, store.Width], rows.shape);
                using var products = queries.mm(rows.t()).to_type(float64); // [Q, n]
                var expected = scores.Values.narrow(1, ids.Count, some.Count).to_type(float64);
                Assert.True((products - expected).abs().max().item<double>() <= tolerance * expected.abs().max().item<double>());
                ids.AddRange(some);
            }
        );
        Assert.Equal(store.Ids, ids);
        Assert.Throws<ArgumentNullException>(() => store.ReadRows(null!));
        Assert.Throws<OperationCanceledException>(() => store.ReadRows((_, _) => { }, new CancellationToken(canceled: true)));
    }
}
