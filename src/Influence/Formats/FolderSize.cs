namespace Influence.Formats;

/// <summary>How much a folder's files take, where other processes may remove some of them meanwhile.</summary>
internal static class FolderSize
{
    /// <summary>The bytes of the files that are there; a file that goes between two looks counts as none.</summary>
    /// <param name="folder">A folder that is there.</param>
    /// <param name="pattern">The names that count.</param>
    public static long Of(string folder, string pattern)
    {
        var bytes = 0L;
        foreach (var file in new DirectoryInfo(folder).EnumerateFiles(pattern))
        {
            try
            {
                bytes += file.Length;
            }
            catch (FileNotFoundException)
            {
                // Another process has removed it, as what its sum is kept of.
            }
        }

        return bytes;
    }
}
