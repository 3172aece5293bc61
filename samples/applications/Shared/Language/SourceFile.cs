using System.IO.Compression;
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

    /// <summary>The lines of a file; one whose name ends in .gz is unpacked.</summary>
    /// <exception cref="SampleException">The file is not there, or is not UTF-8.</exception>
    public static IReadOnlyList<string> ReadLines(string path, string? package)
    {
        try
        {
            if (!path.EndsWith(".gz", StringComparison.Ordinal))
            {
                return File.ReadAllLines(path, Utf8);
            }

            using var unpacked = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
            using var reader = new StreamReader(unpacked, Utf8);
            return reader.ReadToEnd().Split('\n');
        }
        catch (Exception exception) when (package is not null && exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw Missing(path, package!);
        }
        catch (Exception exception)
            when (exception is IOException or UnauthorizedAccessException or DecoderFallbackException or InvalidDataException)
        {
            throw new SampleException($"{path} cannot be read as UTF-8 text: {exception.Message}");
        }
    }

    public static SampleException Missing(string what, string package) =>
        new(
            $"There is no {what}. Install Debian's package {package} (apt-get install {package}), or name a folder with texts of "
                + "your own, a .txt file for each domain: --corpus FOLDER."
        );
}
