namespace Influence.Formats;

/// <summary>
/// Files that are there whole or not at all: written beside their final name, flushed to the disk, then renamed. Rights of an
/// older file are kept, and a link at the final name stays one: what it leads to is replaced.
/// </summary>
internal static class AtomicFile
{
    /// <summary>Writes a file; an older one of that name stays until the new one is complete.</summary>
    /// <param name="path">Its final name; missing folders are made.</param>
    /// <param name="write">Writes the content; the stream can seek.</param>
    /// <exception cref="InfluenceException">The folder cannot be written, or the disk is full; nothing was changed.</exception>
    public static void Write(string path, Action<Stream> write) => Place(path, write, overwrite: true);

    /// <summary>Writes a file in one step unless there is one of that name.</summary>
    /// <param name="path">Its name; missing folders are made.</param>
    /// <param name="write">Writes the content.</param>
    /// <returns>Whether it was written; false where there is such a file already, which is untouched.</returns>
    /// <exception cref="InfluenceException">The folder cannot be written, or the disk is full; nothing was changed.</exception>
    public static bool TryCreate(string path, Action<Stream> write) => Place(path, write, overwrite: false);

    private static bool Place(string path, Action<Stream> write, bool overwrite)
    {
        string? partial = null;
        try
        {
            var target = Target(path);
            var folder = Path.GetDirectoryName(target) ?? throw new IOException("it is a folder.");
            Directory.CreateDirectory(folder);
            (var stream, partial) = PartialFile.Create(folder, ModeOf(target));
            using (stream)
            {
                PartialFile.Sweep(folder, partial, Path.GetFileName(target));
                write(stream);
                stream.Flush(flushToDisk: true);

                // Renamed while it is open, and so locked: nobody takes it for a dead process's.
                if (!TryMove(stream, partial, target, overwrite))
                {
                    PartialFile.TryDelete(partial);
                    return false;
                }
            }

            FolderSync.Flush(folder);
            return true;
        }
        catch (Exception exception)
        {
            if (partial is not null)
            {
                PartialFile.TryDelete(partial);
            }

            if (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
            {
                throw new InfluenceException(
                    $"Cannot write {path}: {exception.Message} Nothing was changed. Check the folder's rights and the free space.",
                    exception
                );
            }

            throw;
        }
    }

    private static bool TryMove(FileStream stream, string partial, string target, bool overwrite)
    {
        if (overwrite)
        {
            File.Move(partial, target, overwrite: true);
            return true;
        }

        try
        {
            return NewName.TryGive(partial, target);
        }
        catch (IOException) when (File.Exists(partial))
        {
            // Without hard links it is copied, which an open file does not let anybody do.
            stream.Dispose();
            return NewName.TryGive(partial, target);
        }
    }

    /// <summary>The full name, with a link at the end followed to what it leads to.</summary>
    private static string Target(string path)
    {
        var full = Path.GetFullPath(path);
        var target = new FileInfo(full).LinkTarget is null ? full : File.ResolveLinkTarget(full, returnFinalTarget: true)!.FullName;
        return IsDevice(target) ? throw new IOException("It is a device, not a file.") : target;
    }

    private static bool IsDevice(string target) =>
        !OperatingSystem.IsWindows()
        && File.Exists(target)
        && target.StartsWith("/dev/", StringComparison.Ordinal)
        && !target.StartsWith("/dev/shm/", StringComparison.Ordinal);

    private static UnixFileMode? ModeOf(string target)
    {
        if (OperatingSystem.IsWindows() || !File.Exists(target))
        {
            return null;
        }

        try
        {
            return File.GetUnixFileMode(target);
        }
        catch (FileNotFoundException)
        {
            // Removed between the two looks.
            return null;
        }
    }
}
