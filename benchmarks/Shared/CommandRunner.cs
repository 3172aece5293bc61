using System.CommandLine;
using System.CommandLine.Parsing;

namespace Influence.Benchmarks.Shared;

/// <summary>Runs what a command line asks for; what the user can put right is one line, and exit code 2.</summary>
internal static class CommandRunner
{
    public static int Run(RootCommand root, string[] arguments)
    {
        foreach (var version in root.Options.OfType<VersionOption>().ToList())
        {
            root.Options.Remove(version);
        }

        try
        {
            var given = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
            return given.Errors is [var error, ..]
                ? throw new BenchmarkException(
                    $"{string.Join(' ', error.Message.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))} "
                        + "--help says what there is."
                )
                : given.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (Exception exception) when (exception is BenchmarkException or InfluenceException)
        {
            Console.Error.WriteLine(exception.Message);
            return 2;
        }
    }

    /// <summary>Adds an error where a word is none of these.</summary>
    public static void OnlyFrom(this OptionResult result, IReadOnlyCollection<string> words)
    {
        foreach (var token in result.Tokens.Where(token => !words.Contains(token.Value)))
        {
            result.AddError($"{result.Option.Name} takes {string.Join(", ", words)}; found '{token.Value}'.");
        }
    }
}
