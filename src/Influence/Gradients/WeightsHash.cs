using System.Security.Cryptography;
using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>A short hash of parameters' names and values: equal weights, equal hash.</summary>
internal static class WeightsHash
{
    private const long ChunkElements = 1 << 24;

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
