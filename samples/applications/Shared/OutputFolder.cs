namespace Samples;

/// <summary>A folder that results go to.</summary>
internal static class OutputFolder
{
    /// <summary>Makes it where it is not there, and finds out before the work begins, not after it, that nothing could be written to
    /// it.</summary>
    public static void Prepare(string path)
    {
        try
        {
            Directory.CreateDirectory(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new SampleException($"{path} cannot be made: {exception.Message} Name another folder: --output FOLDER.");
        }

        OutputFile.Check(Path.Combine(path, "check"));
    }
}
