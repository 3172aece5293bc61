namespace Samples.Language;

/// <summary>Reads texts that are parted by lines with nothing but <c>%</c>, as the program <c>fortune</c> keeps them.</summary>
internal static class FortuneFile
{
    public static IEnumerable<string> Read(string path, string? package = null) =>
        SourceFile
            .ReadBlocks(path, package, isSeparator: line => line.Length > 0 && line.All(c => c == '%'))
            .Select(lines => string.Join(' ', lines));
}
