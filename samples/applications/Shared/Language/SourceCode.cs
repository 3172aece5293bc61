namespace Samples.Language;

/// <summary>Reads program text, in blocks that are parted by empty lines; its line ends are kept.</summary>
internal static class SourceCode
{
    public static IEnumerable<string> ReadBlocks(string path, string? package = null) =>
        SourceFile.ReadBlocks(path, package, isSeparator: string.IsNullOrWhiteSpace).Select(lines => string.Join('\n', lines));
}
