using System.Text.RegularExpressions;

namespace Influence.Docs.Tests;

/// <summary>A code block of a page.</summary>
/// <param name="Page">The page's path in the repository.</param>
/// <param name="Line">The line of the page on which the code begins, counted from one.</param>
/// <param name="Code">The code as it is printed.</param>
internal sealed partial record Snippet(string Page, int Line, string Code)
{
    /// <summary>The using directives, which a program wants before all statements.</summary>
    public IEnumerable<string> Usings => Code.Split('\n').Where(line => Directive().IsMatch(line));

    /// <summary>The code without its using directives; the compiler's messages name lines of the page.</summary>
    public string Body =>
        $"#line {Line} \"{Page}\"\n" + string.Join('\n', Code.Split('\n').Select(line => Directive().IsMatch(line) ? string.Empty : line));

    [GeneratedRegex(@"^using (static )?[\w.]+( = [\w.<>, ]+)?;")]
    private static partial Regex Directive();
}
