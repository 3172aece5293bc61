namespace Samples;

/// <summary>A file that is there whole or not at all: an older one of that name stays until the new one is complete.</summary>
internal static class OutputFile
{
    /// <summary>Finds out before the work begins, not after it, that the file could not be written.</summary>
    public static void Check(string path)
    {
        if (Directory.Exists(path))
        {
            throw new SampleException($"{path} is a folder. Name a file: --output FILE.");
        }

        var folder = Path.GetDirectoryName(Path.GetFullPath(path));
        if (!Directory.Exists(folder))
        {
            throw new SampleException($"{path} cannot be written: there is no folder {folder}. Name another file: --output FILE.");
        }

        var partial = Partial(path);
        Guard(
            path,
            () =>
            {
                File.WriteAllText(partial, string.Empty);
                File.Delete(partial);
            }
        );
    }

    public static void Write(string path, string text)
    {
        var partial = Partial(path);
        try
        {
            Guard(
                path,
                () =>
                {
                    File.WriteAllText(partial, text);
                    File.Move(partial, path, overwrite: true);
                }
            );
        }
        catch (SampleException)
        {
            if (File.Exists(partial))
            {
                File.Delete(partial);
            }

            throw;
        }
    }

    private static string Partial(string path) => $"{path}.{Environment.ProcessId}.partial";

    private static void Guard(string path, Action write)
    {
        try
        {
            write();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SampleException($"{path} cannot be written: {exception.Message} Name another file: --output FILE.");
        }
    }
}
