namespace Influence.Reports;

/// <summary>A file that is there whole or not at all: written beside its name, then renamed.</summary>
internal static class OutputFile
{
    public static void CheckEnding(string path, string ending)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (!path.EndsWith(ending, StringComparison.OrdinalIgnoreCase))
        {
            throw new InfluenceException(
                $"{Path.GetFileName(path)}: the name's ending says the format. Write a name that ends in {ending}."
            );
        }
    }

    public static void Write(string path, Action<Stream> write)
    {
        string? partial = null;
        try
        {
            var full = Path.GetFullPath(path);
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            partial = $"{full}.{Guid.NewGuid():N}.partial";
            using (var stream = new FileStream(partial, FileMode.CreateNew, FileAccess.ReadWrite))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            File.Move(partial, full, overwrite: true);
        }
        catch (Exception exception)
            when (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new InfluenceException(
                $"Cannot write {path}: {exception.Message} Nothing was changed. Check the folder's rights and the free space.",
                exception
            );
        }
        finally
        {
            if (partial is not null && File.Exists(partial))
            {
                File.Delete(partial);
            }
        }
    }
}
