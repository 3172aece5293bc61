using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Formats;

/// <summary>The format's names of types: those that a tensor here can have, and the size of the others.</summary>
internal static class SafetensorsType
{
    private static readonly (ScalarType Type, string Name, int Size)[] s_readable =
    [
        (ScalarType.Float32, "F32", 4),
        (ScalarType.Float64, "F64", 8),
        (ScalarType.Float16, "F16", 2),
        (ScalarType.BFloat16, "BF16", 2),
        (ScalarType.Int64, "I64", 8),
        (ScalarType.Int32, "I32", 4),
        (ScalarType.Int16, "I16", 2),
        (ScalarType.Int8, "I8", 1),
        (ScalarType.Byte, "U8", 1),
        (ScalarType.Bool, "BOOL", 1),
    ];

    // Types that stand in files of other tools, beside tensors that can be read.
    private static readonly Dictionary<string, int> s_foreign = new(StringComparer.Ordinal)
    {
        ["U16"] = 2,
        ["U32"] = 4,
        ["U64"] = 8,
        ["F8_E4M3"] = 1,
        ["F8_E5M2"] = 1,
        ["F8_E8M0"] = 1,
        ["F8_E4M3FNUZ"] = 1,
        ["F8_E5M2FNUZ"] = 1,
        ["C64"] = 8,
        ["C128"] = 16,
    };

    /// <summary>The bytes of one number; null for a type that is not known, of which nothing can be checked.</summary>
    public static int? Size(string name) => Find(name)?.Size ?? (s_foreign.TryGetValue(name, out var size) ? (int?)size : null);

    /// <summary>The type here; null where there is none.</summary>
    public static (ScalarType Type, int Size)? Find(string name)
    {
        var found = Array.Find(s_readable, t => t.Name == name);
        return found.Name is null ? null : (found.Type, found.Size);
    }

    /// <exception cref="InfluenceException">The format has no such type.</exception>
    public static (string Name, int Size) Of(ScalarType dtype)
    {
        var found = Array.Find(s_readable, t => t.Type == dtype);
        return found.Name is null
            ? throw new InfluenceException($"The safetensors format has no type for {dtype}.")
            : (found.Name, found.Size);
    }
}
