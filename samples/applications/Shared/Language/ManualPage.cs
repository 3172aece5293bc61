namespace Samples.Language;

/// <summary>Reads a manual page as it is installed: packed, in the markup of roff, which is kept; its comments are not.</summary>
internal static class ManualPage
{
    private const string Folder = "/usr/share/man";
    private const string Comment = @".\""";

    /// <param name="page">Section and name, with the language's folder before them where there is one: <c>de/man1/ls.1</c>.</param>
    /// <param name="package">The Debian package that holds it.</param>
    public static string Read(string page, string package) =>
        string.Join(
            '\n',
            SourceFile
                .ReadLines(Path.Combine(Folder, $"{page}.gz"), package)
                .Where(line => !line.StartsWith(Comment, StringComparison.Ordinal))
        );
}
