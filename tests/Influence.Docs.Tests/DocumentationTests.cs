using System.Reflection;
using Markdig;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;
using Xunit;

namespace Influence.Docs.Tests;

/// <summary>What the documentation shows is what runs.</summary>
[Collection(NotebookRunTests.OneAtATime)]
public class DocumentationTests
{
    /// <summary>Names a folder that gets what each page printed: from there tables go into the pages.</summary>
    private const string OutputVariable = "INFLUENCE_DOCS_OUTPUT";

    public static TheoryData<string> Pages => [.. Page.Names];

    [Theory]
    [MemberData(nameof(Pages))]
    public void Its_code_compiles_and_runs(string name)
    {
        foreach (var program in Page.Read(name).Programs)
        {
            var assembly = SnippetProgram.Compile(program);
            try
            {
                Keep(name, SnippetProgram.Run(assembly));
            }
            catch (TargetInvocationException e)
            {
                Assert.Fail($"The code of {name} from line {program[0].Line} on: {e.InnerException}");
            }
        }
    }

    [Theory]
    [MemberData(nameof(Pages))]
    public void Its_links_lead_somewhere(string name)
    {
        var text = File.ReadAllText(Path.Combine(Page.Root, name));
        var folder = Path.GetDirectoryName(Path.Combine(Page.Root, name))!;
        var missing = Markdown
            .Parse(text)
            .Descendants<LinkInline>()
            .Select(link => link.Url!.Split('#')[0])
            .Where(path =>
                path.Length > 0 && !path.StartsWith("http", StringComparison.Ordinal) && !Path.Exists(Path.Combine(folder, path))
            );

        Assert.Empty(missing);
    }

    [Fact]
    public void Code_that_does_not_compile_is_named_by_its_line_of_the_page()
    {
        var error = Assert.Throws<InvalidOperationException>(() =>
            SnippetProgram.Compile([new Snippet("page.md", 7, "var x = 1;\nreturn y;")])
        );

        Assert.Contains("page.md(8,8)", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Blocks_share_what_they_declare_and_print_to_the_caller()
    {
        var assembly = SnippetProgram.Compile([
            new Snippet("page.md", 1, "var x = 40;"),
            new Snippet("page.md", 5, "using System.Globalization;\nConsole.Write((x + 2).ToString(CultureInfo.InvariantCulture));"),
        ]);

        Assert.Equal("42", SnippetProgram.Run(assembly));
    }

    private static void Keep(string page, string printed)
    {
        if (Environment.GetEnvironmentVariable(OutputVariable) is { Length: > 0 } folder)
        {
            Directory.CreateDirectory(folder);
            File.AppendAllText(Path.Combine(folder, page.Replace('/', '-') + ".txt"), printed);
        }
    }
}
