using System.Runtime.InteropServices;
using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Golden;

/// <summary>Reference data of other implementations: raw arrays that a manifest describes. They are not in the repository.</summary>
internal sealed class GoldenFolder
{
    private readonly string _folder;
    private readonly JsonElement _manifest;

    private GoldenFolder(string folder)
    {
        _folder = folder;
        _manifest = JsonSerializer.Deserialize<JsonElement>(File.ReadAllText(Path("manifest.json")));
    }

    /// <summary>The folder <c>shared/golden/name</c>, in a parent of the tests or beside one; null where there is none.</summary>
    public static GoldenFolder? Find(string name)
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            var folder = System.IO.Path.Combine(at.FullName, "shared", "golden", name);
            if (File.Exists(System.IO.Path.Combine(folder, "manifest.json")))
            {
                return new GoldenFolder(folder);
            }
        }

        return null;
    }

    public string Path(string file) => System.IO.Path.Combine(_folder, file);

    /// <summary>The array of that name, in its own dtype.</summary>
    public Tensor Read(string name)
    {
        var entry = _manifest.GetProperty(name);
        var bytes = File.ReadAllBytes(Path(entry.GetProperty("file").GetString()!));
        var shape = entry.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64()).ToArray();
        using var flat = entry.GetProperty("dtype").GetString() switch
        {
            "float64" => tensor(MemoryMarshal.Cast<byte, double>(bytes).ToArray()),
            "float32" => tensor(MemoryMarshal.Cast<byte, float>(bytes).ToArray()),
            "int64" => tensor(MemoryMarshal.Cast<byte, long>(bytes).ToArray()),
            "uint8" => tensor(bytes),
            var other => throw new InvalidDataException(other),
        };
        return flat.reshape(shape);
    }
}
