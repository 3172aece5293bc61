namespace Influence.Build;

/// <summary>Writes a corrected copy, and only where it changes.</summary>
internal static class CorrectedCopy
{
    /// <summary>
    /// Writes bytes to a file, unless it holds them already: its time is then as before, and nothing copies it again.
    /// A file that an output folder links to is never written into; a new one takes its name.
    /// </summary>
    public static void Write(string path, byte[] bytes)
    {
        if (File.Exists(path) && File.ReadAllBytes(path).SequenceEqual(bytes))
            return;

        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        var aside = $"{path}.{Guid.NewGuid():n}";
        File.WriteAllBytes(aside, bytes);
        File.Delete(path);
        File.Move(aside, path);
    }
}
