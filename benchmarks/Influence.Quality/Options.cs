using Influence.Quality.Parts;

namespace Influence.Quality;

/// <summary>What the command line asks for.</summary>
/// <param name="Parts">The set-ups to run.</param>
/// <param name="Quick">Fewer examples, subsets and epochs: to see that it works, not to quote.</param>
/// <param name="Output">The folder of the result files; null for none.</param>
/// <param name="Cache">Where retrained models' measurements and trained models are kept.</param>
internal sealed record Options(IReadOnlyList<Part> Parts, bool Quick, string? Output, string Cache)
{
    public static string Usage { get; } =
        $"""
            Influence.Quality [part ...] [options]       scores held against retraining, beside published figures; all parts unless named

            {string.Join("\n", PartCatalog.All.Select(part => $"  {part.Key, -8} {part.Title}"))}

              --quick            fewer examples, subsets and epochs: to see that it works, not to quote
              --output FOLDER    where the result files go; benchmarks/results of the repository unless given
              --no-files         print only
              --cache FOLDER     where finished trainings are kept; artifacts/quality of the repository unless given
            """;

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var rest = new Queue<string>(arguments);
        var parts = new List<Part>();
        var (quick, files) = (false, true);
        string? output = null,
            cache = null;
        while (rest.TryDequeue(out var option))
        {
            switch (option)
            {
                case "--quick":
                    quick = true;
                    break;
                case "--no-files":
                    files = false;
                    break;
                case "--output":
                    output = Value(option);
                    break;
                case "--cache":
                    cache = Value(option);
                    break;
                default:
                    parts.Add(
                        PartCatalog.All.FirstOrDefault(part => part.Key == option)
                            ?? throw new BenchmarkException($"There is no part or option '{option}'.\n\n{Usage}")
                    );
                    break;
            }
        }

        return new Options(
            parts.Count > 0 ? [.. parts.Distinct()] : PartCatalog.All,
            quick,
            files ? output ?? Repository.Folder("benchmarks", "results") : null,
            cache ?? Repository.Folder("artifacts", "quality")
        );

        string Value(string option) =>
            rest.TryDequeue(out var value) ? value : throw new BenchmarkException($"{option} needs a value.\n\n{Usage}");
    }
}
