using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>Eigenpairs as a safetensors file: tensors by name, and in the metadata how they were made and over which parameters.</summary>
internal static class EigenFile
{
    private const string PartsKey = "influence.curvature.parameters";
    private const string ReportKey = "influence.curvature.report";

    public static void Save(string path, CurvatureInfo info, IReadOnlyList<string> parameters, string report, params (string Name, Tensor Value)[] tensors)
    {
        ArgumentNullException.ThrowIfNull(path);
        Safetensors.CheckName(path);
        var metadata = info.ToStrings();
        metadata[PartsKey] = string.Join('\n', parameters);
        metadata[ReportKey] = report;
        Safetensors.Save(path, tensors, metadata);
    }

    /// <summary>Reads the tensors of these names; the caller owns them.</summary>
    public static (CurvatureInfo Info, IReadOnlyList<string> Parameters, string Report, Tensor[] Tensors) Load(string path, string method, Device? device, params string[] names)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        var (tensors, metadata) = Safetensors.Load(path);
        var info = CurvatureInfo.FromStrings(metadata, path);
        if (info.Method != method)
        {
            throw new InfluenceException($"{path} holds a fit by {info.Method}, not by {method}.");
        }

        var missing = names.Where(name => !tensors.ContainsKey(name)).ToList();
        if (missing.Count > 0 || !metadata.TryGetValue(PartsKey, out var parameters))
        {
            throw new InfluenceException($"{path} is not a whole {method}: it lacks {InfluenceException.List(missing.Count > 0 ? missing : [PartsKey])}.");
        }

        var kept = names.Select(name => (device is null ? tensors[name] : tensors[name].to(device)).alias().DetachFromDisposeScope()).ToArray();
        return (info, parameters.Split('\n'), metadata.GetValueOrDefault(ReportKey, string.Empty), kept);
    }
}
