namespace Influence.Build;

/// <summary>
/// Finds the libstdc++ that an app started here would load, in the loader's order: the folders of LD_LIBRARY_PATH, then
/// what the loader's cache and default folders give. For the latter it asks the loader's own answer: the dotnet process
/// that builds needs libstdc++ as well, so the one it has loaded is the one. Where it has none, the usual folders follow.
/// </summary>
internal static class Libstdcxx
{
    public const string Name = "libstdc++.so.6";

    private static readonly string[] _folders =
    [
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
    ];

    /// <summary>Gives the path of the library and the versions it defines, or null where none is found.</summary>
    public static (string Path, HashSet<string> Versions)? Find(string? searchPath, IEnumerable<string> mapsOfProcess)
    {
        var first = (searchPath ?? "").Split([':', ';'], StringSplitOptions.RemoveEmptyEntries).Select(InFolder);
        foreach (var path in first.Concat(Loaded(mapsOfProcess)).Concat(_folders.Select(InFolder)))
        {
            // The loader, too, passes over a file of another architecture.
            if (File.Exists(path) && TryRead(path) is { } versions)
                return (path, versions);
        }
        return null;
    }

    /// <summary>Gives the versions that a library at a path defines, or null where it cannot be read.</summary>
    public static HashSet<string>? TryRead(string path)
    {
        try
        {
            return VersionDefinitions.Read(new ElfFile(File.ReadAllBytes(path)));
        }
        catch (Exception e) when (e is ElfException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string InFolder(string folder) => Path.Combine(folder, Name);

    /// <summary>Reads the library's path from lines of `/proc/self/maps`, where a path is the sixth field.</summary>
    private static IEnumerable<string> Loaded(IEnumerable<string> maps)
    {
        foreach (var line in maps)
        {
            // The file's own name is longer (libstdc++.so.6.0.30): the name that the loader looks for is a link to it.
            var start = line.IndexOf('/');
            if (start >= 0 && Path.GetFileName(line).StartsWith(Name, StringComparison.Ordinal))
                yield return line.Substring(start);
        }
    }
}
