using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>Eigenpairs as a safetensors file: tensors by name, and in the metadata how they were made and over which parameters.</summary>
internal static class EigenFile
{
    private const string PartsKey = "influence.curvature.parameters";
    private const string ReportKey = "influence.curvature.report";

    public static void Save(
        string path,
        CurvatureInfo info,
        IReadOnlyList<string> parameters,
        string report,
        params (string Name, Tensor Value)[] tensors
    )
    {
        ArgumentNullException.ThrowIfNull(path);
        Safetensors.CheckName(path);
        var metadata = info.ToStrings();
        metadata[PartsKey] = string.Join('\n', parameters);
        metadata[ReportKey] = report;
        Safetensors.Save(path, tensors, metadata);
    }

    /// <summary>Opens a file and checks what it says of itself; the tensors are in the caller's scope.</summary>
    public static (CurvatureInfo Info, IReadOnlyList<string> Parameters, string Report, FitTensors Tensors) Load(
        string path,
        string method,
        Device? device
    )
    {
        ArgumentNullException.ThrowIfNull(path);
        using var file = SafetensorsFile.Open(path);
        var info = CurvatureInfo.FromFile(file, path);
        if (info.Method != method)
        {
            throw new InfluenceException($"{path} holds a fit by {PlainText.Name(info.Method)}, not by {method}.");
        }

        return file.Metadata.TryGetValue(PartsKey, out var parameters)
            ? (
                info,
                parameters.Split('\n'),
                PlainText.Lines(file.Metadata.GetValueOrDefault(ReportKey, string.Empty)),
                new FitTensors(path, file.ReadAll(), device)
            )
            : throw new InfluenceException($"{path} is not a whole {method}: it lacks the entry \"{PartsKey}\" in its metadata.");
    }
}
