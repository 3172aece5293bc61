using System.Runtime.Loader;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Influence.Docs.Tests;

/// <summary>The snippets of a page as one program of top-level statements: compiled, loaded and run in this process.</summary>
internal static class SnippetProgram
{
    /// <summary>What the SDK's implicit usings give every program.</summary>
    private const string Implicit =
        "global using System; global using System.Collections.Generic; global using System.IO; global using System.Linq; global using "
        + "System.Threading; global using System.Threading.Tasks;";

    /// <summary>What the tests themselves run with: the library and TorchSharp among them.</summary>
    public static readonly IReadOnlyList<MetadataReference> References =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!)
            .Split(Path.PathSeparator)
            .Select(file => MetadataReference.CreateFromFile(file)),
    ];

    /// <summary>Compiles the snippets.</summary>
    /// <exception cref="InvalidOperationException">They do not compile: the compiler's messages, with the page and its line.</exception>
    public static byte[] Compile(IReadOnlyList<Snippet> snippets)
    {
        var options = new CSharpParseOptions(LanguageVersion.Latest);

        // A program's types come after its statements, a page's beside what uses them.
        var code = string.Join(
            '\n',
            [.. snippets.SelectMany(s => s.Usings).Distinct(), .. snippets.OrderBy(s => DeclaresTypes(s, options)).Select(s => s.Body)]
        );
        var compilation = CSharpCompilation.Create(
            $"Snippets{Guid.NewGuid():N}",
            [CSharpSyntaxTree.ParseText(Implicit, options), CSharpSyntaxTree.ParseText(code, options)],
            References,
            new CSharpCompilationOptions(OutputKind.ConsoleApplication, nullableContextOptions: NullableContextOptions.Enable)
        );
        using var assembly = new MemoryStream();
        var result = compilation.Emit(assembly);
        var errors = result.Diagnostics.Where(d => d.Severity == DiagnosticSeverity.Error).ToList();
        return errors.Count == 0
            ? assembly.ToArray()
            : throw new InvalidOperationException(string.Join('\n', errors.Select(e => e.ToString())));
    }

    private static bool DeclaresTypes(Snippet snippet, CSharpParseOptions options) =>
        CSharpSyntaxTree.ParseText(snippet.Body, options).GetCompilationUnitRoot().Members is { Count: > 0 } members
        && members.All(member => member is BaseTypeDeclarationSyntax);

    /// <summary>Runs a compiled program in a folder of its own, and returns what it printed.</summary>
    public static string Run(byte[] assembly)
    {
        var (before, output) = (Environment.CurrentDirectory, Console.Out);
        var folder = Directory.CreateTempSubdirectory("influence-docs-");
        using var printed = new StringWriter();
        var context = new AssemblyLoadContext("snippets", isCollectible: true);
        try
        {
            Environment.CurrentDirectory = folder.FullName;
            Console.SetOut(printed);
            using var stream = new MemoryStream(assembly);
            var main = context.LoadFromStream(stream).EntryPoint!;
            main.Invoke(null, main.GetParameters().Length == 0 ? null : [Array.Empty<string>()]);
            return printed.ToString();
        }
        finally
        {
            Console.SetOut(output);
            Environment.CurrentDirectory = before;
            context.Unload();
            folder.Delete(recursive: true);
        }
    }
}
