using System.Security.Cryptography;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>The file of a fixed number of examples: exact norms, scales where rows are float16 or int8, rows.</summary>
internal static class StoreShard
{
    /// <summary>Writes a shard whole, or not at all.</summary>
    /// <param name="folder">The store's.</param>
    /// <param name="manifest">What rows are stored in, and the layers.</param>
    /// <param name="shard">Its number.</param>
    /// <param name="rows"><c>[n, K]</c> on the CPU.</param>
    /// <param name="norms">Float64 <c>[n]</c>.</param>
    /// <returns>The file's SHA-256.</returns>
    public static string Write(string folder, StoreManifest manifest, int shard, Tensor rows, Tensor norms)
    {
        using var scope = NewDisposeScope();
        var type = manifest.Type();
        var tensors = new List<Tensor> { norms };
        if (type == ScalarType.Float16)
        {
            // The largest number of a row is 1, so that none is too large for float16 and few are too small.
            var scales = rows.abs().amax(1).to_type(ScalarType.Float64);
            scales = scales.where(scales > 0, ones_like(scales));
            tensors.Add(scales);
            rows = rows.to_type(ScalarType.Float64) / scales.unsqueeze(1);
        }
        else if (type == ScalarType.Int8)
        {
            (rows, var scales) = Int8Blocks.Pack(rows, manifest.Layers);
            tensors.Add(scales);
        }

        tensors.Add(rows.to_type(type));
        var hash = string.Empty;
        AtomicFile.Write(PathOf(folder, shard), stream =>
        {
            using var running = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            foreach (var tensor in tensors)
            {
                TensorBytes.Write(stream, tensor, (int)tensor.dtype.ElementSize(), running);
            }

            hash = Convert.ToHexStringLower(running.GetHashAndReset());
        });
        return hash;
    }

    /// <summary>Reads a shard: rows in float32, or float64 where they are stored so, and norms; in the current scope.</summary>
    /// <exception cref="InfluenceException">It is missing, or not what was written.</exception>
    public static (Tensor Rows, Tensor Norms) Read(string folder, StoreManifest manifest, int shard)
    {
        using var scope = NewDisposeScope();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var (path, type, count) = (PathOf(folder, shard), manifest.Type(), manifest.CountOf(shard));
        using var stream = Open(path, Length(manifest, shard));
        var norms = TensorBytes.Read(stream, path, [count], ScalarType.Float64, sizeof(double), hash);
        var scales = type switch
        {
            ScalarType.Float16 => TensorBytes.Read(stream, path, [count], ScalarType.Float64, sizeof(double), hash),
            ScalarType.Int8 => TensorBytes.Read(stream, path, [count, Int8Blocks.Count(manifest.Layers)], ScalarType.Float32, sizeof(float), hash),
            _ => null,
        };
        var rows = TensorBytes.Read(stream, path, [count, manifest.Width()], type, (int)type.ElementSize(), hash);
        if (Convert.ToHexStringLower(hash.GetHashAndReset()) != manifest.ShardHashes[shard])
        {
            throw Damaged(path, "its hash is not the manifest's");
        }

        if (scales is not null)
        {
            rows = type == ScalarType.Int8
                ? Int8Blocks.Unpack(rows, scales, manifest.Layers)
                : (rows.to_type(ScalarType.Float64) * scales.unsqueeze(1)).to_type(ScalarType.Float32);
        }

        return (rows.MoveToOuterDisposeScope(), norms.MoveToOuterDisposeScope());
    }

    /// <summary>Checks a shard's length and hash.</summary>
    /// <exception cref="InfluenceException">It is not what was written.</exception>
    public static void Verify(string folder, StoreManifest manifest, int shard)
    {
        var path = PathOf(folder, shard);
        using var stream = Open(path, Length(manifest, shard));
        if (Convert.ToHexStringLower(SHA256.HashData(stream)) != manifest.ShardHashes[shard])
        {
            throw Damaged(path, "its hash is not the manifest's");
        }
    }

    private static string PathOf(string folder, int shard) => Path.Combine(folder, StoreManifest.ShardName(shard));

    private static Int128 Length(StoreManifest manifest, int shard)
    {
        var type = manifest.Type();
        var scales = type switch
        {
            ScalarType.Float16 => (Int128)sizeof(double),
            ScalarType.Int8 => (Int128)sizeof(float) * Int8Blocks.Count(manifest.Layers),
            _ => 0,
        };
        return manifest.CountOf(shard) * (((Int128)manifest.Width() * type.ElementSize()) + sizeof(double) + scales);
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
            throw new InfluenceException($"Cannot read {path}: {exception.Message} Call GradientStore.Write again with the same arguments: it writes what is missing.", exception);
        }

        if (stream.Length == length)
        {
            return stream;
        }

        var found = stream.Length;
        stream.Dispose();
        throw Damaged(path, $"{length} bytes were written, and it has {found}");
    }

    private static InfluenceException Damaged(string path, string why) => new(
        $"{path} is damaged: {why}. Delete that file and call GradientStore.Write again with the same arguments: it is written anew.");
}
