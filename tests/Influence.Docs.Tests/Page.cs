using System.Reflection;
using Markdig;
using Markdig.Syntax;

namespace Influence.Docs.Tests;

/// <summary>A page of the documentation, and the programs that its code blocks make up.</summary>
/// <remarks>
/// The blocks of a page form one program in their order: a later block uses what an earlier one declared. What a program
/// needs and a reader does not (small data, a model) stands in a comment <c>&lt;!-- setup</c>, its lines, <c>--&gt;</c>, or, shared by
/// pages, in a file of this project's folder Setups, named by <c>&lt;!-- setup NAME --&gt;</c>. A comment
/// <c>&lt;!-- new program --&gt;</c> begins another program on the same page.
/// </remarks>
internal sealed class Page
{
    private const string Setup = "<!-- setup";
    private const string NewProgram = "<!-- new program -->";
    private const string End = "-->";

    private Page(string name, IReadOnlyList<IReadOnlyList<Snippet>> programs) => (Name, Programs) = (name, programs);

    public string Name { get; }

    public IReadOnlyList<IReadOnlyList<Snippet>> Programs { get; }

    public static string Root { get; } =
        typeof(Page).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RepositoryRoot").Value!;

    /// <summary>README.md and everything in docs, relative to the repository.</summary>
    public static IEnumerable<string> Names =>
        [
            "README.md",
            .. Directory
                .EnumerateFiles(Path.Combine(Root, "docs"), "*.md", SearchOption.AllDirectories)
                .Select(file => Path.GetRelativePath(Root, file).Replace('\\', '/'))
                .Order(StringComparer.Ordinal),
        ];

    public static Page Read(string name)
    {
        var text = File.ReadAllText(Path.Combine(Root, name));
        var programs = new List<List<Snippet>> { new() };
        foreach (var block in Markdown.Parse(text))
        {
            switch (block)
            {
                case FencedCodeBlock { Info: "csharp" } code:
                    programs[^1].Add(new Snippet(name, code.Line + 2, code.Lines.ToString()));
                    break;
                case HtmlBlock html when html.Lines.ToString() is var comment && comment.StartsWith(Setup, StringComparison.Ordinal):
                    programs[^1]
                        .Add(SetupOf(name, html.Line + 1, comment[Setup.Length..comment.LastIndexOf(End, StringComparison.Ordinal)]));
                    break;
                case HtmlBlock html when html.Lines.ToString().Trim() == NewProgram:
                    programs.Add([]);
                    break;
                default:
                    break;
            }
        }

        return new Page(name, [.. programs.Where(p => p.Count > 0)]);
    }

    private static Snippet SetupOf(string page, int line, string text)
    {
        if (text.TrimEnd().Contains('\n', StringComparison.Ordinal))
        {
            return new Snippet(page, line, text);
        }

        var file = $"tests/Influence.Docs.Tests/Setups/{text.Trim()}.csx";
        return new Snippet(file, 1, File.ReadAllText(Path.Combine(Root, file)));
    }
}
