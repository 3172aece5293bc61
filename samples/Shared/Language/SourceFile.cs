using System.Text;

namespace Samples.Language;

/// <summary>Reads a text file block by block.</summary>
internal static class SourceFile
{
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>The lines between separators.</summary>
    /// <exception cref="SampleException">The file is not there, or is not UTF-8.</exception>
    public static IReadOnlyList<IReadOnlyList<string>> ReadBlocks(string path, string? package, Func<string, bool> isSeparator)
    {
        var blocks = new List<IReadOnlyList<string>>();
        var block = new List<string>();
        foreach (var line in ReadLines(path, package))
        {
            if (isSeparator(line))
            {
                blocks.Add(block);
                block = [];
            }
            else
            {
                block.Add(line);
            }
        }

        blocks.Add(block);
        return blocks;
    }

    private static string[] ReadLines(string path, string? package)
    {
        try
        {
            return File.ReadAllLines(path, Utf8);
        }
        catch (Exception exception) when (package is not null && exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw Missing(path, package!);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or DecoderFallbackException)
        {
            throw new SampleException($"{path} cannot be read as UTF-8 text: {exception.Message}");
        }
    }

    public static SampleException Missing(string what, string package) => new(
        $"There is no {what}. Install Debian's package {package} (apt-get install {package}), or name a folder with texts of " +
        "your own, a .txt file for each domain: --corpus FOLDER.");
}
