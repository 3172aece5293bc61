using System.Text.RegularExpressions;
using TorchSharp;

namespace Influence.Benchmarks.Shared;

/// <summary>Which libtorch this process has loaded: TorchSharp itself knows only the one that its package was built with.</summary>
internal static partial class LibtorchVersion
{
    /// <summary>As a PyTorch (2.10.0+cu128) or a libtorch folder names itself; of a package's, which does not, what was asked
    /// for.</summary>
    public static string Describe() =>
        Read() ?? $"{torch.__version__}, as TorchSharp {typeof(torch).Assembly.GetName().Version?.ToString(3)} asks for";

    /// <summary>Major and minor number; null where the libtorch does not name itself.</summary>
    public static Version? Number() =>
        Read() is { } text && Leading().Match(text) is { Success: true } match ? Version.Parse(match.Value) : null;

    /// <summary>As it names itself; null where it does not.</summary>
    public static string? Read()
    {
        var library = File.ReadLines("/proc/self/maps").FirstOrDefault(line => line.EndsWith("/libtorch_cpu.so", StringComparison.Ordinal));
        if (
            library is null
            || Path.GetDirectoryName(Path.GetDirectoryName(library[library.IndexOf('/', StringComparison.Ordinal)..])) is not { } root
        )
        {
            return null;
        }

        var (ofPython, ofLibtorch) = (Path.Combine(root, "version.py"), Path.Combine(root, "build-version"));
        return File.Exists(ofPython) && Assignment().Match(File.ReadAllText(ofPython)) is { Success: true } match ? match.Groups[1].Value
            : File.Exists(ofLibtorch) ? File.ReadAllText(ofLibtorch).Trim()
            : null;
    }

    [GeneratedRegex("""^__version__\s*=\s*['"]([^'"]+)['"]""", RegexOptions.Multiline)]
    private static partial Regex Assignment();

    [GeneratedRegex("""^\d+\.\d+""")]
    private static partial Regex Leading();
}
