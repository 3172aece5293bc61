using System.Security.Cryptography;

namespace Influence.Formats;

/// <summary>
/// A file that is still being written, under a random name beside its final one. It is open, and locked, until it has its final
/// name: so one that nobody holds was left by a process that died, and goes.
/// </summary>
internal static class PartialFile
{
    /// <summary>The ending of a file that is still being written; no reader looks at it.</summary>
    public const string Suffix = ".partial";

    private const string Prefix = "influence-";
    private const int Tries = 10;

    /// <summary>Creates one; its name has nothing of the final one, which may be as long as names can be.</summary>
    /// <param name="folder">The folder of the final name.</param>
    /// <param name="mode">The rights that the file is to have; null: those of any new file.</param>
    public static (FileStream Stream, string Path) Create(string folder, UnixFileMode? mode)
    {
        for (var attempt = 1; ; attempt++)
        {
            var path = Path.Combine(folder, $"{Prefix}{RandomNumberGenerator.GetHexString(32, lowercase: true)}{Suffix}");
            var options = new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.ReadWrite,

                // Windows renames an open file only where it is shared so; elsewhere only an exclusive lock is taken on every file system.
                Share = OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None,
                BufferSize = 1 << 20,
            };
            if (mode is not null && !OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            try
            {
                var stream = new FileStream(path, options);
                if (mode is { } rights && !OperatingSystem.IsWindows())
                {
                    File.SetUnixFileMode(stream.SafeFileHandle, rights);
                }

                if (File.Exists(path))
                {
                    return (stream, path);
                }

                // Another process took it for a dead one's in the moment before it was locked.
                stream.Dispose();
            }
            catch (IOException) when (attempt < Tries)
            {
                // As above, in the moment between making and locking it, and it may be gone already: the next name.
            }
        }
    }

    /// <summary>Removes what dead processes left in a folder.</summary>
    /// <param name="folder">The folder.</param>
    public static void Sweep(string folder)
    {
        if (!Candidates(folder, null).Any())
        {
            return;
        }

        var (stream, path) = Create(folder, mode: null);
        using (stream)
        {
            Sweep(folder, path, finalName: null);
            TryDelete(path);
        }
    }

    /// <summary>Removes what dead processes left in a folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="own">An open partial file of this process there: it shows whether files can be locked.</param>
    /// <param name="finalName">A final name, of which an earlier version of this library may have left parts too.</param>
    public static void Sweep(string folder, string own, string? finalName)
    {
        // Without locks a living process's file cannot be told from a dead one's.
        var others = Candidates(folder, finalName).Where(path => path != own).ToList();
        if (others.Count == 0 || TryRemove(own, delete: false))
        {
            return;
        }

        foreach (var path in others)
        {
            TryRemove(path, delete: true);
        }
    }

    public static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // The error that led here says more; no reader looks at partial files.
            _ = exception;
        }
    }

    private static IEnumerable<string> Candidates(string folder, string? finalName)
    {
        IEnumerable<string> found;
        try
        {
            found = [.. Directory.EnumerateFiles(folder, $"{Prefix}*{Suffix}").Where(IsOurs)];
            if (finalName is not null)
            {
                found =
                [
                    .. found,
                    .. Directory.EnumerateFiles(folder, $"*{Suffix}").Where(path => IsOfEarlierVersion(Path.GetFileName(path), finalName)),
                ];
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A folder that may be written and not listed: nothing can be tidied there.
            _ = exception;
            return [];
        }

        return found.Where(IsFile);
    }

    /// <summary>Whether it is a file and no link; one that is gone by now is none.</summary>
    private static bool IsFile(string path)
    {
        var file = new FileInfo(path);
        return file.Exists && !file.Attributes.HasFlag(FileAttributes.ReparsePoint);
    }

    private static bool IsOurs(string path)
    {
        var name = Path.GetFileName(path);
        return name.Length == Prefix.Length + 32 + Suffix.Length && name[Prefix.Length..^Suffix.Length].All(char.IsAsciiHexDigitLower);
    }

    /// <summary>Earlier versions wrote to name.PID.partial.</summary>
    private static bool IsOfEarlierVersion(string name, string finalName) =>
        name.Length > finalName.Length + 1 + Suffix.Length
        && name.StartsWith(finalName + ".", StringComparison.Ordinal)
        && !name.AsSpan()[(finalName.Length + 1)..^Suffix.Length].ContainsAnyExceptInRange('0', '9');

    /// <summary>Whether nobody holds the file.</summary>
    private static bool TryRemove(string path, bool delete)
    {
        try
        {
            using var stream = new FileStream(
                path,
                new FileStreamOptions
                {
                    Mode = FileMode.Open,
                    Access = FileAccess.ReadWrite,
                    Share = FileShare.None,
                    Options = delete ? FileOptions.DeleteOnClose : FileOptions.None,
                }
            );
            return true;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _ = exception;
            return false;
        }
    }
}
