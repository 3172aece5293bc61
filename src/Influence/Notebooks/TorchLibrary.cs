using System.Runtime.InteropServices;
using Influence.Build;
using TorchSharp;

namespace Influence.Notebooks;

/// <summary>Loads TorchSharp's native library, corrected where this system's libstdc++ lacks a version that it names and does not
/// use.</summary>
internal static class TorchLibrary
{
    private const string FileName = "libLibTorchSharp.so";
    private const string Native = "runtimes/linux-x64/native";
    private const string Maps = "/proc/self/maps";

    /// <summary>What the library links to, in the order in which it can be loaded.</summary>
    private static readonly string[] s_libtorch = ["c10", "torch_cpu", "torch"];

    private static readonly Lock s_lock = new();

    public static string Load()
    {
        if (!OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64)
        {
            return "TorchSharp's native library needs no correction on this system.";
        }

        lock (s_lock)
        {
            var loaded = File.ReadAllLines(Maps);
            if (
                loaded.Any(line =>
                    line.EndsWith(FileName, StringComparison.Ordinal) || line.EndsWith($"{FileName} (deleted)", StringComparison.Ordinal)
                )
            )
            {
                return "TorchSharp's native library is loaded already.";
            }

            return
                Find() is { } path
                && Libstdcxx.Find(Environment.GetEnvironmentVariable("LD_LIBRARY_PATH"), loaded) is var (libstdcxx, versions)
                ? Load(path, libstdcxx, versions)
                : $"Nothing was done: no {FileName}, or no {Libstdcxx.Name}, was found to look at.";
        }
    }

    private static string Load(string path, string libstdcxx, HashSet<string> versions)
    {
        var bytes = File.ReadAllBytes(path);
        var file = new ElfFile(bytes);
        var missing = WeakenVersions.Missing(file, Libstdcxx.Name, versions);
        if (missing.Count == 0)
        {
            return $"TorchSharp's native library needs no correction: {libstdcxx} has all that it asks for.";
        }

        var asked = string.Join(", ", missing.Select(need => need.Version));
        if (WeakenVersions.Obstacle(file, missing) is { } obstacle)
        {
            throw new InfluenceException(
                $"{FileName} needs {asked} of {Libstdcxx.Name}, which {libstdcxx} does not have, and {obstacle}. A newer libstdc++ "
                    + "is needed: name its folder in LD_LIBRARY_PATH before the notebook's kernel starts."
            );
        }

        LoadLibtorch(path);
        var folder = Directory.CreateTempSubdirectory("influence-");
        try
        {
            var corrected = Path.Combine(folder.FullName, FileName);
            File.WriteAllBytes(corrected, WeakenVersions.Apply(bytes, missing));

            // The loader knows the library by the name that it carries itself: whoever asks for it later gets this one.
            NativeLibrary.Load(corrected);
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        return $"TorchSharp's native library was loaded from a corrected copy: {libstdcxx} lacks {asked}, which it names and does not use.";
    }

    /// <summary>
    /// The copy lies alone, so what it links to is loaded before it: as the runtime finds it, or else from the package that
    /// lies beside TorchSharp's.
    /// </summary>
    private static void LoadLibtorch(string path)
    {
        foreach (var name in s_libtorch)
        {
            if (
                !NativeLibrary.TryLoad(name, typeof(torch).Assembly, null, out _)
                && !Beside(path, $"lib{name}.so").Any(candidate => NativeLibrary.TryLoad(candidate, out _))
            )
            {
                throw new InfluenceException(
                    $"lib{name}.so was not found: libtorch is a package of its own. Write #r \"nuget: TorchSharp-cpu\" in the "
                        + "notebook's first cell, or TorchSharp-cuda-linux, and then Influence.Notebooks.Notebook.Prepare()."
                );
            }
        }
    }

    private static IEnumerable<string> Beside(string path, string name)
    {
        yield return Path.Combine(Path.GetDirectoryName(path)!, name);

        // .../torchsharp/<version>/runtimes/linux-x64/native/libLibTorchSharp.so
        var packages = new FileInfo(path).Directory?.Parent?.Parent?.Parent?.Parent?.Parent;
        if (packages is { Exists: true })
        {
            foreach (
                var version in packages.EnumerateDirectories("libtorch-cpu-linux-x64").SelectMany(package => package.EnumerateDirectories())
            )
            {
                yield return Path.Combine(version.FullName, Native, name);
            }
        }
    }

    /// <summary>Where an app, or a package's folder, has the file.</summary>
    private static string? Find()
    {
        var folders = ((string?)AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") ?? string.Empty)
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .ToList();
        folders.AddRange([AppContext.BaseDirectory, Path.Combine(AppContext.BaseDirectory, Native)]);
#pragma warning disable IL3000 // An app in one file has no such path, and its native files lie beside it.
        if (Path.GetDirectoryName(typeof(torch).Assembly.Location) is { Length: > 0 } assembly)
#pragma warning restore IL3000
        {
            folders.AddRange([assembly, Path.Combine(assembly, Native), Path.GetFullPath(Path.Combine(assembly, "../..", Native))]);
        }

        return folders.Select(folder => Path.Combine(folder, FileName)).FirstOrDefault(File.Exists);
    }
}
