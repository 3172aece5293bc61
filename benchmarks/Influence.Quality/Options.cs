using System.CommandLine;
using Influence.Quality.Parts;

namespace Influence.Quality;

/// <summary>What the command line asks for.</summary>
/// <param name="Parts">The set-ups to run.</param>
/// <param name="Quick">Fewer examples, subsets and epochs: to see that it works, not to quote.</param>
/// <param name="Output">The folder of the result files; null for none.</param>
/// <param name="Cache">Where retrained models' measurements and trained models are kept.</param>
internal sealed record Options(IReadOnlyList<Part> Parts, bool Quick, string? Output, string Cache)
{
    private static readonly Argument<Part[]> s_parts = new("part")
    {
        Description = $"all unless named:\n{string.Join("\n", PartCatalog.All.Select(part => $"{part.Key, -8} {part.Title}"))}",
        Arity = ArgumentArity.ZeroOrMore,
        CustomParser = result =>
        {
            var parts = new List<Part>();
            foreach (var token in result.Tokens)
            {
                if (PartCatalog.All.FirstOrDefault(part => part.Key == token.Value) is { } found)
                {
                    parts.Add(found);
                }
                else
                {
                    result.AddError($"There is no part or option '{token.Value}'.");
                }
            }

            return [.. parts.Distinct()];
        },
    };

    private static readonly Option<bool> s_quick = new("--quick")
    {
        Description = "fewer examples, subsets and epochs: to see that it works, not to quote",
    };

    private static readonly Option<string> s_output = new("--output")
    {
        HelpName = "FOLDER",
        Description = "where the result files go; benchmarks/results of the repository unless given",
    };

    private static readonly Option<bool> s_noFiles = new("--no-files") { Description = "print only" };

    private static readonly Option<string> s_cache = new("--cache")
    {
        HelpName = "FOLDER",
        Description = "where finished trainings are kept; artifacts/quality of the repository unless given",
    };

    /// <summary>The command line.</summary>
    /// <param name="run">What it does.</param>
    public static RootCommand Command(Action<Options> run)
    {
        var root = new RootCommand("Scores held against retraining, beside published figures.")
        {
            s_parts,
            s_quick,
            s_output,
            s_noFiles,
            s_cache,
        };
        root.SetAction(given =>
            run(
                new Options(
                    given.GetValue(s_parts) is { Length: > 0 } parts ? parts : PartCatalog.All,
                    given.GetValue(s_quick),
                    given.GetValue(s_noFiles) ? null : given.GetValue(s_output) ?? Repository.Folder("benchmarks", "results"),
                    given.GetValue(s_cache) ?? Repository.Folder("artifacts", "quality")
                )
            )
        );
        return root;
    }
}
