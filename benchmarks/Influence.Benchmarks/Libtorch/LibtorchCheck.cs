using System.Runtime.InteropServices;

namespace Influence.Benchmarks.Libtorch;

/// <summary>
/// Holds a folder of libtorch's libraries against TorchSharp's native library before anything of TorchSharp runs: what is
/// not there, cut off, or lacks symbols is told, where it would otherwise end the process.
/// </summary>
/// <remarks>The folder comes first in LD_LIBRARY_PATH when this runs, as it does later.</remarks>
internal static class LibtorchCheck
{
    public const string Verb = "libtorch";

    private const string Ours = "libLibTorchSharp.so";
    private const int Listed = 40;

    private static readonly Version s_builtFor = new(2, 10);
    private static readonly string[] s_required = ["libc10.so", "libtorch_cpu.so", "libtorch.so"];
    private static readonly string[] s_requiredByCuda = ["libc10_cuda.so", "libtorch_cuda.so"];

    /// <summary>Prints what was found; 0 where TorchSharp can run over that folder, else 1.</summary>
    public static int Run(string folder, bool cuda)
    {
        var problem = Problem([.. s_required, .. cuda ? s_requiredByCuda : []], folder);
        Console.WriteLine(problem ?? $"{Name()}: {Ours} finds there all that it needs");
        if (problem is null && LibtorchVersion.Number() is { } version && version != s_builtFor)
        {
            Console.WriteLine(
                $"{Ours} was built for {s_builtFor}: in another version classes may be laid out otherwise, which no list of "
                    + "symbols shows"
            );
        }

        return problem is null ? 0 : 1;
    }

    private static string? Problem(IReadOnlyList<string> names, string folder)
    {
        var paths = names.Select(name => Path.Combine(folder, name)).ToList();
        List<string> problems =
        [
            .. paths
                .Where(path => !File.Exists(path))
                .Select(path => $"{Path.GetFileName(path)} is not there{(IsOfCuda(path) ? ": a libtorch without CUDA" : string.Empty)}"),
            .. paths.Where(File.Exists).Select(SharedLibrary.Problem).OfType<string>(),
        ];
        if (problems.Count > 0)
        {
            return $"This is no whole libtorch:\n{Lines(problems)}";
        }

        var handles = new List<nint>();
        foreach (var path in paths)
        {
            if (TryLoad(path, handles) is { } reason)
            {
                return $"{Path.GetFileName(path)} does not load: {reason}";
            }
        }

        return MissingSymbols(handles)
            ?? (TryLoad(Path.Combine(AppContext.BaseDirectory, Ours), handles) is { } why ? $"{Ours} does not load: {why}" : null);
    }

    private static string? MissingSymbols(List<nint> handles)
    {
        var ours = SharedLibrary.Read(Path.Combine(AppContext.BaseDirectory, Ours));
        foreach (var name in ours.Needed().Except(s_required))
        {
            // A library of the system that is missing here is told of when ours is loaded.
            _ = TryLoad(name, handles);
        }

        var undefined = ours.UndefinedSymbols();
        var missing = undefined.Where(symbol => !handles.Any(handle => NativeLibrary.TryGetExport(handle, symbol, out _))).ToList();
        return missing.Count == 0
            ? null
            : $"{Name()} is not one that {Ours} was built for ({s_builtFor}): of its {undefined.Count:N0} symbols {missing.Count:N0} are "
                + "missing\n"
                + Lines(missing.Order(StringComparer.Ordinal).Take(Listed))
                + (missing.Count > Listed ? $"\n  and {missing.Count - Listed:N0} more" : string.Empty);
    }

    /// <summary>The loader's own words where it fails.</summary>
    private static string? TryLoad(string library, List<nint> handles)
    {
        try
        {
            handles.Add(NativeLibrary.Load(library));
            return null;
        }
        catch (DllNotFoundException exception)
        {
            // Below .NET's advice stands what the loader said of each place that was tried; the first is the one that counts.
            return exception.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1).FirstOrDefault() ?? exception.Message;
        }
    }

    private static string Name() => LibtorchVersion.Read() is { } version ? $"libtorch {version}" : "libtorch of an unnamed version";

    private static bool IsOfCuda(string path) => s_requiredByCuda.Contains(Path.GetFileName(path));

    private static string Lines(IEnumerable<string> lines) => string.Join('\n', lines.Select(line => $"  {line}"));
}
