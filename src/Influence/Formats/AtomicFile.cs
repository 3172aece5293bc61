namespace Influence.Formats;

/// <summary>
/// Files that are there whole or not at all: written beside their final name, flushed to the disk, then renamed.
/// </summary>
internal static class AtomicFile
{
    /// <summary>The ending of a file that is still being written; no reader looks at it.</summary>
    public const string PartialSuffix = ".partial";

    /// <summary>Writes a file; an older one of that name stays until the new one is complete.</summary>
    /// <param name="path">Its final name; missing folders are made.</param>
    /// <param name="write">Writes the content.</param>
    /// <exception cref="InfluenceException">The folder cannot be written, or the disk is full; nothing was changed.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        var full = Path.GetFullPath(path);
        var partial = PartialName(full);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            using (var stream = new FileStream(partial, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 1 << 20))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            File.Move(partial, full, overwrite: true);
        }
        catch (Exception exception)
        {
            TryDelete(partial);
            if (exception is IOException or UnauthorizedAccessException)
            {
                throw CannotWrite(path, exception);
            }

            throw;
        }
    }

    /// <summary>The name of a file until it is whole.</summary>
    public static string PartialName(string full) => $"{full}.{Environment.ProcessId}{PartialSuffix}";

    /// <summary>What a file system's error becomes.</summary>
    public static InfluenceException CannotWrite(string path, Exception cause) =>
        new($"Cannot write {path}: {cause.Message} Nothing was changed. Check the folder's rights and the free space.", cause);

    /// <summary>Removes what is left of a file, where that is possible.</summary>
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
}
