using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>The products of some queries with the rows of one shard after the other, read where they are mapped; of few queries rows are
/// never written out.</summary>
internal sealed class StoreScan
{
    // Beyond so many, a matrix product over rows that are written out is quicker.
    private const int QueriesOfRows = 4;
    private const int RowsOfAPiece = 32;
    private const long NumbersOfAPiece = 1 << 20;

    private readonly Tensor _queries;
    private readonly RowProducts? _direct;
    private readonly Tensor? _room;

    /// <param name="store">Whose rows.</param>
    /// <param name="queries"><c>[Q, K]</c>, alive as long as this is used; room for rows lives in the current scope.</param>
    public StoreScan(GradientStore store, Tensor queries)
    {
        _queries = queries;
        if (store.Dtype != ScalarType.Float64 && RowProducts.IsSupported && queries.shape[0] <= QueriesOfRows)
        {
            _direct = new RowProducts(queries, store.Projection.Dtype, store.Sizes);
            return;
        }

        // So few rows that they stay near the processor.
        _room = empty(
            [Math.Clamp(NumbersOfAPiece / store.Width, 16, Math.Max(16, store.Projection.ExamplesPerShard)), store.Width],
            store.Dtype
        );
    }

    /// <summary><c>[Q, n]</c> of a shard, in the current scope.</summary>
    public Tensor Products(ShardMap map) => _direct is { } direct ? Direct(direct, map) : Written(map);

    private static unsafe Tensor Direct(RowProducts queries, ShardMap map)
    {
        var products = empty([queries.Count, map.Count], ScalarType.Float32);
        fixed (byte* bytes = products.bytes)
        {
            var to = (float*)bytes;
            Threads.ForEach(
                (map.Count + RowsOfAPiece - 1) / RowsOfAPiece,
                piece =>
                {
                    var start = piece * RowsOfAPiece;
                    queries.Multiply(map, start, Math.Min(RowsOfAPiece, map.Count - start), to, map.Count);
                }
            );
        }

        return products;
    }

    private Tensor Written(ShardMap map)
    {
        using var scope = NewDisposeScope();
        var products = new List<Tensor>();
        for (var start = 0; start < map.Count; start += (int)_room!.shape[0])
        {
            var own = _room!.narrow(0, 0, Math.Min(_room.shape[0], map.Count - start));
            map.Unpack(start, (int)own.shape[0], own);
            products.Add(_queries.mm(own.t())); // [Q, n]
        }

        return (products.Count == 1 ? products[0] : cat(products, 1)).MoveToOuterDisposeScope();
    }
}
