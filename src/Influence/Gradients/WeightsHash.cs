using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>A short hash of parameters' names and values: equal weights, equal hash.</summary>
internal static class WeightsHash
{
    private const long ChunkElements = 1 << 24;
    private const ulong Multiplier = 0x9E3779B97F4A7C15;

    public static string Of(IEnumerable<ModelParameter> parameters) =>
        Of(parameters.Select(parameter => (parameter.Name, (Tensor)parameter.Value)));

    /// <summary>All parameters, the frozen ones too, and all buffers.</summary>
    public static string OfAll(nn.Module model)
    {
        using var scope = NewDisposeScope();
        return Of(model.state_dict().Select(pair => (pair.Key, pair.Value)));
    }

    /// <summary>A hash of names alone.</summary>
    public static string OfNames(IEnumerable<string> names) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', names.Order(StringComparer.Ordinal)))))[..8];

    /// <summary>
    /// A quick hash of one tensor's numbers and their order, for telling within a process whether it is what it was: every step can be
    /// undone, so one changed number is never missed. Numbers that lie elsewhere than in the processor's memory are hashed as sums along
    /// their first and last axis, which rounding may keep.
    /// </summary>
    public static ulong Bits(Tensor value)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var own = value.detach().Strided()!;
        if (own.numel() == 0)
        {
            return 0;
        }

        if (own.device_type != DeviceType.CPU)
        {
            var wide = own.is_floating_point() ? own : own.to_type(ScalarType.Float64);
            var rows = wide.reshape(own.dim() > 0 ? own.shape[0] : 1, -1);
            own = cat(
                    [
                        rows.sum([0], type: ScalarType.Float64),
                        rows.sum([1], type: ScalarType.Float64),
                        linalg.vector_norm(rows).to_type(ScalarType.Float64).reshape(1),
                    ],
                    0
                )
                .cpu();
        }

        var flat = own.contiguous().reshape(-1);
        var hash = (ulong)flat.shape[0];
        for (long start = 0; start < flat.shape[0]; start += ChunkElements)
        {
            using var chunk = flat.narrow(0, start, Math.Min(ChunkElements, flat.shape[0] - start));
            hash = Bits(chunk.bytes, hash);
            GC.KeepAlive(chunk);
        }

        return hash;
    }

    private static ulong Bits(ReadOnlySpan<byte> bytes, ulong seed)
    {
        // Four chains side by side: each waits for its own multiplication only.
        var (a, b, c, d) = (seed, seed + 1, seed + 2, seed + 3);
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        var i = 0;
        for (; i + 4 <= words.Length; i += 4)
        {
            a = BitOperations.RotateLeft((a ^ words[i]) * Multiplier, 29);
            b = BitOperations.RotateLeft((b ^ words[i + 1]) * Multiplier, 29);
            c = BitOperations.RotateLeft((c ^ words[i + 2]) * Multiplier, 29);
            d = BitOperations.RotateLeft((d ^ words[i + 3]) * Multiplier, 29);
        }

        for (; i < words.Length; i++)
        {
            a = BitOperations.RotateLeft((a ^ words[i]) * Multiplier, 29);
        }

        foreach (var rest in bytes[(words.Length * sizeof(ulong))..])
        {
            a = BitOperations.RotateLeft((a ^ rest) * Multiplier, 29);
        }

        foreach (var other in new[] { b, c, d })
        {
            a = BitOperations.RotateLeft((a ^ other) * Multiplier, 29);
        }

        return a;
    }

    private static string Of(IEnumerable<(string Name, Tensor Value)> values)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (name, value) in values)
        {
            using var scope = NewDisposeScope();
            hash.AppendData(Encoding.UTF8.GetBytes(name + "\0"));
            var flat = value.detach().cpu().contiguous().reshape(-1);
            for (long start = 0; start < flat.shape[0]; start += ChunkElements)
            {
                using var chunk = flat.narrow(0, start, Math.Min(ChunkElements, flat.shape[0] - start)).clone();
                hash.AppendData(chunk.bytes);
            }
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }
}
