using System.Security.Cryptography;
using System.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>A short hash of parameters' names and values: equal weights, equal hash.</summary>
internal static class WeightsHash
{
    private const long ChunkElements = 1 << 24;

    public static string Of(IEnumerable<ModelParameter> parameters)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var parameter in parameters)
        {
            using var scope = NewDisposeScope();
            hash.AppendData(Encoding.UTF8.GetBytes(parameter.Name + "\0"));
            var flat = parameter.Value.detach().cpu().contiguous().reshape(-1);
            for (long start = 0; start < flat.shape[0]; start += ChunkElements)
            {
                using var chunk = flat.narrow(0, start, Math.Min(ChunkElements, flat.shape[0] - start)).clone();
                hash.AppendData(chunk.bytes);
            }
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }
}
