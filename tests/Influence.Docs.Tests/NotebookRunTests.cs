using System.Globalization;
using System.IO.Compression;
using System.Reflection;
using System.Runtime.Loader;
using System.Text;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Xunit;

namespace Influence.Docs.Tests;

/// <summary>
/// The cells of the committed notebooks, run from top to bottom as C# in this process: no Jupyter, less data, fewer steps. Where Debian's
/// packages of data are not there, made-up data of their form stand in; the outputs in the files are not looked at here.
/// </summary>
[Collection(OneAtATime)]
public class NotebookRunTests
{
    /// <summary>Code that runs torch: not beside another.</summary>
    public const string OneAtATime = "code that runs";

    /// <summary>What is smaller here than in the notebook; every text must be found in it.</summary>
    private static readonly Dictionary<string, (string From, string To)[]> s_smaller = new()
    {
        ["choose-a-tenth.ipynb"] =
        [
            ("20000", "2000"),
            ("10000", "1000"),
            ("{ 900, 600, 200, 700, 200, 400, 200, 300, 200, 300 }", "{ 90, 60, 20, 70, 20, 40, 20, 30, 20, 30 }"),
            ("everything, 240,", "everything, 24,"),
            ("everything, 200)", "everything, 20)"),
            ("everything, 1000)", "everything, 40)"),
            ("Pick(s), 200)", "Pick(s), 20)"),
        ],
        ["explain-a-language-model.ipynb"] =
        [
            ("Take(162)", "Take(26)"),
            ("const int epochs = 8;", "const int epochs = 2;"),
            ("new[] { 0, 2, 4, 6, 8 }.Select(Explain)", "new[] { 0, 8 }.Select(Explain)"),
        ],
        ["find-mislabelled.ipynb"] =
        [
            ("const int count = 5000;", "const int count = 600;"),
            ("const int epochs = 4;", "const int epochs = 2;"),
            ("EverySteps = 100", "EverySteps = 8"),
        ],
        ["mixtures.ipynb"] =
        [
            ("Windows(texts, 400)", "Windows(texts, 60)"),
            ("Windows(targetTexts, 200)", "Windows(targetTexts, 40)"),
            ("const int steps = 500;", "const int steps = 40;"),
            ("seed <= 3;", "seed <= 1;"),
        ],
        ["training-dynamics.ipynb"] =
        [
            ("const int count = 4000;", "const int count = 400;"),
            ("const int epochs = 8;", "const int epochs = 4;"),
        ],
    };

    public static TheoryData<string> Notebooks => [.. NotebookTests.Notebook.Names];

    [Theory]
    [MemberData(nameof(Notebooks))]
    public void Its_cells_run_from_top_to_bottom(string name)
    {
        var folder = Directory.CreateTempSubdirectory("influence-notebooks-");
        var (context, cells) = (new AssemblyLoadContext(name, isCollectible: true), NotebookTests.Notebook.Read(name).Cells);
        try
        {
            var loaded = new Dictionary<string, Assembly>();
            context.Resolving += (_, wanted) => loaded.GetValueOrDefault(wanted.Name!);
            var slots = new object[cells.Count + 3];
            var previous = Run(null, "object HTML(string text) => text;", out _);
            var missing = s_smaller[name].Select(change => change.From).ToHashSet();
            foreach (var cell in cells.Where(cell => cell.IsCode && !cell.Source.StartsWith("#r", StringComparison.Ordinal)))
            {
                var code = StandInData.Redirect(cell.Source, folder.FullName);
                foreach (var (from, to) in s_smaller[name].Where(change => code.Contains(change.From, StringComparison.Ordinal)))
                {
                    code = code.Replace(from, to, StringComparison.Ordinal);
                    missing.Remove(from);
                }

                previous = Run(previous, code, out var value);
                Assert.True(!cell.EndsInAValue || value is not null, $"No value of the cell '{cell.Source.Split('\n')[0]}'");

                // What the front end shows of a result.
                if (value?.GetType().GetMethod("ToHtml", Type.EmptyTypes) is { } toHtml)
                {
                    Assert.StartsWith("<", (string)toHtml.Invoke(value, [])!, StringComparison.Ordinal);
                }
            }

            Assert.Empty(missing);

            CSharpCompilation Run(CSharpCompilation? before, string code, out object? value)
            {
                var submission = NotebookTests.Submission(before, code);
                using var stream = new MemoryStream();
                var emitted = submission.Emit(stream);
                Assert.True(emitted.Success, $"{name}: {string.Join('\n', emitted.Diagnostics)}");
                stream.Position = 0;
                var assembly = loaded[submission.AssemblyName!] = context.LoadFromStream(stream);
                var entry = submission.GetEntryPoint(CancellationToken.None)!;
                var factory = assembly
                    .GetType(entry.ContainingType.MetadataName)!
                    .GetMethod(entry.MetadataName, BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic)!;
                value = ((Task<object>)factory.Invoke(null, [slots])!).GetAwaiter().GetResult();
                return submission;
            }
        }
        finally
        {
            context.Unload();
            folder.Delete(recursive: true);
        }
    }

    /// <summary>The files that notebooks read: Debian's where they are there, else made-up ones of the same form.</summary>
    private static class StandInData
    {
        private const string Share = "/usr/share/";
        private const string Verses = "new ProcessStartInfo(\"bible\", \"-f Gen1:1-Gen50:26\")";

        private static readonly string[] s_files =
        [
            .. new[] { "train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1" }.Select(part =>
                $"datasets/fashion-mnist/{part}-ubyte.gz"
            ),
            .. new[]
            {
                "ru/book",
                "ru/life",
                "ru/work",
                "ru/truth",
                "es/arte.fortunes",
                "es/ciencia.fortunes",
                "es/filosofia.fortunes",
                "it/formiche",
                "it/italia",
                "it/leggi",
                "it/luke",
                "it/norm",
                "it/paolotedeschi",
                "de/witze",
            }.Select(file => $"games/fortunes/{file}"),
            .. new[] { "man7/signal.7", "man7/tcp.7", "man7/ip.7", "de/man1/grep.1", "de/man1/tar.1", "de/man1/find.1" }.Select(page =>
                $"man/{page}.gz"
            ),
            "javascript/jquery/jquery.js",
        ];

        /// <summary>The code with its files in the folder, and the folder with the files that the code names the place of.</summary>
        public static string Redirect(string code, string folder)
        {
            if (code.Contains(Share, StringComparison.Ordinal) && !Directory.Exists(Path.Combine(folder, "share")))
            {
                foreach (var file in s_files)
                {
                    var (real, path) = (Share + file, Path.Combine(folder, "share", file));
                    Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                    if (File.Exists(real))
                    {
                        File.CreateSymbolicLink(path, real);
                    }
                    else
                    {
                        Write(path, file);
                    }
                }

                File.WriteAllText(Path.Combine(folder, "verses"), Text("Gen1:1 ", 60, "\n"));
            }

            if (!File.Exists("/usr/bin/bible"))
            {
                code = code.Replace(Verses, $"new ProcessStartInfo(\"cat\", \"{folder}/verses\")", StringComparison.Ordinal);
            }

            return code.Replace(Share, $"{folder}/share/", StringComparison.Ordinal)
                .Replace("Path.GetTempPath()", $"\"{folder}\"", StringComparison.Ordinal);
        }

        private static void Write(string path, string file)
        {
            using var stream = File.Create(path);
            var packed = file.EndsWith(".gz", StringComparison.Ordinal);
            using Stream target = packed ? new GZipStream(stream, CompressionLevel.Fastest) : stream;
            target.Write(
                file.Contains("images", StringComparison.Ordinal) ? [.. new byte[16], .. Pictures(2000)]
                : file.Contains("labels", StringComparison.Ordinal) ? [.. new byte[8], .. Enumerable.Range(0, 2000).Select(Label)]
                : Encoding.UTF8.GetBytes(Text($"{file} ", 120, file.StartsWith("games", StringComparison.Ordinal) ? "\n%\n" : "\n\n"))
            );
        }

        private static int Class(int picture) => picture * 7 % 10;

        /// <summary>Every ninth is another's: no network is right about all of them.</summary>
        private static byte Label(int picture) => (byte)((Class(picture) + (picture % 9 == 0 ? 1 : 0)) % 10);

        /// <summary>Each class is a bar at a height of its own, in noise.</summary>
        private static IEnumerable<byte> Pictures(int count)
        {
            var random = new Random(1);
            return Enumerable
                .Range(0, count * 784)
                .Select(at => (byte)(random.Next(100) + ((at % 784 / 28) - (2 * Class(at / 784)) is >= 4 and < 8 ? 150 : 0)));
        }

        private static string Text(string begin, int count, string between)
        {
            var random = new Random(begin.Length);
            string Word() => string.Concat(Enumerable.Range(0, random.Next(2, 9)).Select(_ => (char)random.Next('a', 'z' + 1)));
            string Words() => string.Join(' ', Enumerable.Range(0, 16).Select(_ => Word()));
            return string.Join(
                between,
                Enumerable.Range(0, count).Select(line => $"{begin}{line.ToString(CultureInfo.InvariantCulture)} {Words()}")
            );
        }
    }
}
