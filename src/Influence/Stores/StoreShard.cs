using System.Security.Cryptography;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// The file of a fixed number of examples: rows, scales where they are float16 or int8, exact norms, losses, and at the end a SHA-256 of
/// the store's key, the shard's number and everything before, so that a file tells by itself whether it is whole and of this store.
/// </summary>
internal static unsafe class StoreShard
{
    private const int HashBytes = 32;
    private const int Piece = 1 << 20;

    /// <summary>Writes a shard whole, or not at all.</summary>
    /// <param name="folder">The store's.</param>
    /// <param name="manifest">What rows are stored in, and the layers.</param>
    /// <param name="shard">Its number.</param>
    /// <param name="rows"><c>[n, K]</c> on the CPU, contiguous, float64 where the store is and else float32; kept alive by the
    /// caller.</param>
    /// <param name="norms">Of n examples.</param>
    /// <param name="losses">Of n examples.</param>
    public static void Write(string folder, StoreManifest manifest, int shard, nint rows, double[] norms, double[] losses)
    {
        var (type, width, count) = (manifest.Type(), manifest.Width(), manifest.CountOf(shard));
        AtomicFile.Write(
            PathOf(folder, shard),
            stream =>
            {
                using var hash = Begin(manifest, shard);
                var bytes = type.ElementSize() * width;
                if (type is ScalarType.Float32 or ScalarType.Float64)
                {
                    for (long at = 0; at < count * bytes; at += Piece)
                    {
                        Put(new ReadOnlySpan<byte>((byte*)rows + at, (int)Math.Min(Piece, (count * bytes) - at)));
                    }
                }
                else
                {
                    Put(Pack(manifest, (float*)rows, count, Put));
                }

                Put(AsBytes(norms));
                Put(AsBytes(losses));
                stream.Write(hash.GetHashAndReset());

                void Put(ReadOnlySpan<byte> piece)
                {
                    hash.AppendData(piece);
                    stream.Write(piece);
                }
            }
        );
    }

    /// <summary>Bytes of scales that a row has.</summary>
    public static long ScaleBytes(ScalarType type, int blocks) =>
        type switch
        {
            ScalarType.Float16 => sizeof(double),
            ScalarType.Int8 => sizeof(float) * (long)blocks,
            _ => 0,
        };

    /// <summary>Maps a shard whose length is right.</summary>
    /// <exception cref="InfluenceException">It is missing, or of another length.</exception>
    public static ShardMap Map(string folder, StoreManifest manifest, int shard)
    {
        Open(PathOf(folder, shard), Length(manifest, shard)).Dispose();
        return new ShardMap(PathOf(folder, shard), manifest, shard);
    }

    /// <summary>Checks a shard's length and hash.</summary>
    /// <exception cref="InfluenceException">It is not what was written.</exception>
    public static void Verify(string folder, StoreManifest manifest, int shard)
    {
        var path = PathOf(folder, shard);
        using var stream = Open(path, Length(manifest, shard));
        using var hash = Begin(manifest, shard);
        var buffer = new byte[Piece];
        try
        {
            for (var left = stream.Length - HashBytes; left > 0; )
            {
                var piece = buffer.AsSpan(0, (int)Math.Min(Piece, left));
                stream.ReadExactly(piece);
                hash.AppendData(piece);
                left -= piece.Length;
            }

            stream.ReadExactly(buffer.AsSpan(0, HashBytes));
        }
        catch (IOException exception)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }

        if (!hash.GetHashAndReset().AsSpan().SequenceEqual(buffer.AsSpan(0, HashBytes)))
        {
            throw new InfluenceException(
                $"{path} is damaged, or of another store: its content does not have the hash that it ends with. Delete that file and call "
                    + "GradientStore.Write again with the same arguments: it is written anew."
            );
        }
    }

    public static string PathOf(string folder, int shard) => Path.Combine(folder, StoreManifest.ShardName(shard));

    /// <summary>Packs the rows piece by piece, and returns the scales' bytes, which follow all rows.</summary>
    private static byte[] Pack(StoreManifest manifest, float* rows, int count, Action<ReadOnlySpan<byte>> put)
    {
        var (type, width) = (manifest.Type(), manifest.Width());
        var sizes = manifest.BlockSizes();
        var scales = new byte[count * ScaleBytes(type, sizes.Length)];
        var rowBytes = (int)(width * type.ElementSize());
        var atOnce = Math.Clamp(Piece / rowBytes, 1, count);
        var packed = new byte[(long)atOnce * rowBytes];
        for (var first = 0; first < count; first += atOnce)
        {
            var own = Math.Min(atOnce, count - first);
            fixed (
                byte* to = packed,
                    scale = scales
            )
            {
                for (var row = 0; row < own; row++)
                {
                    float* from = rows + ((first + row) * width);
                    byte* into = to + ((long)row * rowBytes);
                    if (type == ScalarType.Int8)
                    {
                        Int8Blocks.PackRow(from, (sbyte*)into, (float*)scale + ((first + row) * (long)sizes.Length), sizes);
                    }
                    else
                    {
                        ((double*)scale)[first + row] = RowPacking.ToHalf(from, (ushort*)into, width);
                    }
                }
            }

            put(packed.AsSpan(0, own * rowBytes));
        }

        return scales;
    }

    private static IncrementalHash Begin(StoreManifest manifest, int shard)
    {
        var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(manifest.Key);
        hash.AppendData(BitConverter.GetBytes(shard));
        return hash;
    }

    private static ReadOnlySpan<byte> AsBytes(double[] values) => System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan());

    /// <summary>Bytes of a shard's file.</summary>
    public static Int128 Length(StoreManifest manifest, int shard)
    {
        var (type, blocks) = (manifest.Type(), manifest.Type() == ScalarType.Int8 ? (int)Int8Blocks.Count(manifest.Layers) : 0);
        return (
                manifest.CountOf(shard)
                * (((Int128)manifest.Width() * type.ElementSize()) + ScaleBytes(type, blocks) + (2 * sizeof(double)))
            ) + HashBytes;
    }

    private static FileStream Open(string path, Int128 length)
    {
        FileStream stream;
        try
        {
            stream = SharedFile.OpenRead(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException(
                $"Cannot read {path}: {exception.Message} Call GradientStore.Write again with the same "
                    + "arguments: it writes what is missing.",
                exception
            );
        }

        if (stream.Length == length)
        {
            return stream;
        }

        var found = stream.Length;
        stream.Dispose();
        throw new InfluenceException(
            $"{path} is damaged: {length} bytes were written, and it has {found}. Delete that file and call GradientStore.Write again "
                + "with the same arguments: it is written anew."
        );
    }
}
