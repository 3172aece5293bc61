using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Xunit;

namespace Influence.Docs.Tests;

/// <summary>
/// The committed notebooks: their code compiles against the library as it is, and what they show is whole, small and free of errors.
/// <c>./build.sh notebooks</c> runs them.
/// </summary>
public partial class NotebookTests
{
    private const int MaximumOutput = 50_000;

    public static TheoryData<string> Notebooks => [.. Notebook.Names];

    [Theory]
    [MemberData(nameof(Notebooks))]
    public void It_has_been_run_from_top_to_bottom(string name)
    {
        var code = Notebook.Read(name).Cells.Where(cell => cell.IsCode).ToList();

        Assert.Equal(Enumerable.Range(1, code.Count).Select(n => (int?)n), code.Select(cell => cell.ExecutionCount));
        Assert.All(code.Skip(1).Where(cell => cell.EndsInAValue), cell => Assert.NotEmpty(cell.Outputs));
    }

    [Theory]
    [MemberData(nameof(Notebooks))]
    public void Its_outputs_are_fit_to_be_read(string name)
    {
        foreach (var output in Notebook.Read(name).Cells.SelectMany(cell => cell.Outputs))
        {
            Assert.True(
                output.Kind is "execute_result" or "display_data" or "stream",
                $"An output is of the kind {output.Kind}: {output.Text}"
            );
            Assert.True(output.Name != "stderr", $"A cell complained: {output.Text}");
            Assert.InRange(output.Text.Length, 1, MaximumOutput);
            Assert.DoesNotContain("dni-", output.Text, StringComparison.Ordinal);
            Assert.DoesNotContain("<script", output.Text, StringComparison.Ordinal);
            Assert.DoesNotMatch(MachinePath(), output.Text);
            Assert.DoesNotMatch(UnfinishedBar(), output.Text);
        }
    }

    [Theory]
    [MemberData(nameof(Notebooks))]
    public void It_explains_itself_and_names_the_packages(string name)
    {
        var notebook = Notebook.Read(name);
        var props = File.ReadAllText(Path.Combine(Page.Root, "Directory.Build.props"));
        var first = notebook.Cells.First(cell => cell.IsCode).Source;

        Assert.Equal(".net-csharp", notebook.Kernel);
        Assert.StartsWith("# ", notebook.Cells[0].Source, StringComparison.Ordinal);
        Assert.InRange(notebook.Cells.Count(cell => !cell.IsCode), 4, 40);
        Assert.Contains($"#r \"nuget: Influence, {Property(props, "Version")}\"", first, StringComparison.Ordinal);
        Assert.Contains($"#r \"nuget: TorchSharp-cpu, {Property(props, "TorchSharpVersion")}\"", first, StringComparison.Ordinal);
        Assert.InRange(new FileInfo(Path.Combine(Notebook.Folder, name)).Length, 1, 400_000);
    }

    [Theory]
    [MemberData(nameof(Notebooks))]
    public void Its_code_compiles(string name)
    {
        var previous = Submission(null, "object HTML(string text) => text;");
        foreach (
            var cell in Notebook.Read(name).Cells.Where(cell => cell.IsCode && !cell.Source.StartsWith("#r", StringComparison.Ordinal))
        )
        {
            previous = Submission(previous, cell.Source);
            var errors = previous.GetDiagnostics().Where(d => d.Severity == DiagnosticSeverity.Error).ToList();
            Assert.True(
                errors.Count == 0,
                $"{name}, the cell that begins with '{cell.Source.Split('\n')[0]}': {string.Join('\n', errors)}"
            );
        }
    }

    /// <summary><c>./build.sh apps</c> runs them.</summary>
    [Fact]
    public void Programs_of_one_file_are_short_and_name_the_TorchSharp_of_the_library()
    {
        var version = Property(File.ReadAllText(Path.Combine(Page.Root, "Directory.Build.props")), "TorchSharpVersion");
        var programs = Directory.GetFiles(Path.Combine(Page.Root, "samples"), "*.cs");

        Assert.NotEmpty(programs);
        Assert.All(
            programs,
            program =>
            {
                Assert.InRange(File.ReadAllLines(program).Length, 1, 120);
                Assert.Contains($"#:package TorchSharp-cpu@{version}", File.ReadAllText(program), StringComparison.Ordinal);
            }
        );
    }

    [Fact]
    public void A_broken_cell_is_seen()
    {
        var previous = Submission(null, "var x = 1;");

        Assert.DoesNotContain(Submission(previous, "x + 1").GetDiagnostics(), d => d.Severity == DiagnosticSeverity.Error);
        Assert.Contains(Submission(previous, "x + y").GetDiagnostics(), d => d.Severity == DiagnosticSeverity.Error);
        Assert.Matches(MachinePath(), "at /home/anyone/x");
        Assert.Matches(UnfinishedBar(), "<progress max=\"1\" value=\"0.97\">");
        Assert.DoesNotMatch(UnfinishedBar(), "<progress max=\"1\" value=\"1\">");
    }

    /// <summary>What the kernel makes of a cell: a script that goes on with what the cells before it declared.</summary>
    internal static CSharpCompilation Submission(CSharpCompilation? previous, string code) =>
        CSharpCompilation.CreateScriptCompilation(
            $"Cell{Guid.NewGuid():N}",
            CSharpSyntaxTree.ParseText(code, new CSharpParseOptions(LanguageVersion.Latest, kind: SourceCodeKind.Script)),
            SnippetProgram.References,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary).WithUsings(
                "System",
                "System.Collections",
                "System.Collections.Generic",
                "System.Linq",
                "System.Text",
                "System.Threading.Tasks"
            ),
            previous
        );

    private static string Property(string props, string name) => Regex.Match(props, $"<{name}>(.*)</{name}>").Groups[1].Value;

    [GeneratedRegex(@"(^|[\s""'`(>])/(root|home|tmp|usr|work|var|mnt)/|\.nuget|\\Users\\|\b127\.0\.0\.1\b")]
    private static partial Regex MachinePath();

    [GeneratedRegex(@"<progress max=""1"" value=""0")]
    private static partial Regex UnfinishedBar();

    internal sealed record Output(string Kind, string Name, string Text);

    internal sealed record Cell(bool IsCode, string Source, int? ExecutionCount, IReadOnlyList<Output> Outputs)
    {
        /// <summary>The last line is an expression, not a statement or a declaration.</summary>
        public bool EndsInAValue => Source.TrimEnd() is { Length: > 0 } text && text[^1] is not (';' or '}');
    }

    internal sealed record Notebook(string Kernel, IReadOnlyList<Cell> Cells)
    {
        public static string Folder { get; } = Path.Combine(Page.Root, "samples", "notebooks");

        public static IEnumerable<string> Names =>
            Directory.EnumerateFiles(Folder, "*.ipynb").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal);

        public static Notebook Read(string name)
        {
            using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(Folder, name)));
            var root = json.RootElement;
            Assert.Equal(4, root.GetProperty("nbformat").GetInt32());
            return new Notebook(
                root.GetProperty("metadata").GetProperty("kernelspec").GetProperty("name").GetString()!,
                [.. root.GetProperty("cells").EnumerateArray().Select(ReadCell)]
            );
        }

        private static Cell ReadCell(JsonElement cell)
        {
            var isCode = cell.GetProperty("cell_type").GetString() == "code";
            return new Cell(
                isCode,
                Text(cell.GetProperty("source")),
                isCode && cell.GetProperty("execution_count") is { ValueKind: JsonValueKind.Number } count ? count.GetInt32() : null,
                isCode ? [.. cell.GetProperty("outputs").EnumerateArray().Select(ReadOutput)] : []
            );
        }

        private static Output ReadOutput(JsonElement output)
        {
            var text =
                output.TryGetProperty("data", out var data) ? string.Concat(data.EnumerateObject().Select(entry => Text(entry.Value)))
                : output.TryGetProperty("text", out var printed) ? Text(printed)
                : output.ToString();
            return new Output(
                output.GetProperty("output_type").GetString()!,
                output.TryGetProperty("name", out var name) ? name.GetString()! : string.Empty,
                text
            );
        }

        private static string Text(JsonElement element) =>
            element.ValueKind == JsonValueKind.Array
                ? string.Concat(element.EnumerateArray().Select(line => line.GetString()))
                : element.GetString()!;
    }
}
