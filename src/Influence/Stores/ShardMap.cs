using System.IO.MemoryMappedFiles;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>A shard's file mapped into memory: nothing is read before it is used, and nothing copied. Dispose it before the file is written
/// anew.</summary>
internal sealed unsafe class ShardMap : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _first;
    private readonly int[] _sizes;
    private readonly long _rowBytes;

    /// <param name="path">A file whose length has been checked.</param>
    /// <param name="manifest">What its rows are stored in, and the layers.</param>
    /// <param name="shard">Its number.</param>
    public ShardMap(string path, StoreManifest manifest, int shard)
    {
        (Count, Width, Type) = (manifest.CountOf(shard), manifest.Width(), manifest.Type());
        (_rowBytes, _sizes) = (Width * Type.ElementSize(), manifest.BlockSizes());
        try
        {
            _file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
            _view = _file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _file?.Dispose();
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }

        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _first);
        _first += _view.PointerOffset;
    }

    public int Count { get; }

    public long Width { get; }

    public ScalarType Type { get; }

    /// <summary>Exact norms, <c>[n]</c>.</summary>
    public double[] Norms => Doubles(Scales + ScaleBytes);

    /// <summary>Losses, <c>[n]</c>.</summary>
    public double[] Losses => Doubles(Scales + ScaleBytes + ((long)Count * sizeof(double)));

    private byte* Scales => _first + (Count * _rowBytes);

    private long ScaleBytes => Count * StoreShard.ScaleBytes(Type, _sizes.Length);

    public byte* Row(int row) => _first + (row * _rowBytes);

    /// <summary>The scales of an int8 row's blocks.</summary>
    public float* BlockScales(int row) => (float*)Scales + (row * (long)_sizes.Length);

    /// <summary>What a float16 row is multiplied by.</summary>
    public double RowScale(int row) => ((double*)Scales)[row];

    /// <summary>Writes some rows out, <c>[count, K]</c>, float64 where they are stored so, else float32.</summary>
    public void Unpack(int first, int count, Tensor to)
    {
        fixed (byte* target = to.bytes)
        {
            var start = target;
            var own = count;
            if (Type is ScalarType.Float32 or ScalarType.Float64)
            {
                Buffer.MemoryCopy(Row(first), start, own * _rowBytes, own * _rowBytes);
                return;
            }

            Threads.ForEach(
                own,
                row =>
                {
                    var into = (float*)start + (row * Width);
                    if (Type == ScalarType.Int8)
                    {
                        Int8Blocks.UnpackRow((sbyte*)Row(first + row), BlockScales(first + row), into, _sizes);
                    }
                    else
                    {
                        RowPacking.FromHalf((ushort*)Row(first + row), RowScale(first + row), into, Width);
                    }
                }
            );
        }
    }

    public void Dispose()
    {
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }

    private double[] Doubles(byte* from)
    {
        var values = new double[Count];
        fixed (double* to = values)
        {
            Buffer.MemoryCopy(from, to, Count * sizeof(double), Count * sizeof(double));
        }

        return values;
    }
}
