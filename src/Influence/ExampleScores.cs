using Influence.Display;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>One score per example: self-influence, or one query's row of a score matrix. Plain memory; nothing to dispose.</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class ExampleScores : IDisplay
{
    private readonly double[] _values;

    internal ExampleScores(string title, IReadOnlyList<long> ids, double[] values, ScoreMetadata metadata)
    {
        Title = title;
        Ids = ids;
        _values = values;
        Metadata = metadata;
    }

    /// <summary>Scores from anywhere: a metric of your own, or another tool's.</summary>
    /// <param name="ids">Ids that do not repeat.</param>
    /// <param name="values">One score for each id; copied.</param>
    /// <param name="title">What they are, in a few words.</param>
    /// <returns>The scores.</returns>
    /// <exception cref="InfluenceException">Lists of unlike length, or ids that repeat.</exception>
    public static ExampleScores Of(IReadOnlyList<long> ids, IReadOnlyList<double> values, string title = "Scores")
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(values);
        if (ids.Count != values.Count || ids.Distinct().Count() != ids.Count)
        {
            throw new InfluenceException(
                $"One score for each id is expected, and no id twice; found {ids.Count} ids "
                    + $"({ids.Distinct().Count()} different) and {values.Count} scores."
            );
        }

        return new ExampleScores(
            title,
            [.. ids],
            [.. values],
            new ScoreMetadata
            {
                Estimator = title,
                Sign = "high = first",
                Unit = "its own",
            }
        );
    }

    /// <summary>What the scores are, in one line.</summary>
    public string Title { get; }

    /// <summary>The examples' ids.</summary>
    public IReadOnlyList<long> Ids { get; }

    /// <summary>The scores, in the order of <see cref="Ids"/>.</summary>
    public IReadOnlyList<double> Values => _values;

    /// <summary>How they were made and how to read them.</summary>
    public ScoreMetadata Metadata { get; }

    /// <summary>The number of examples.</summary>
    public int Count => _values.Length;

    /// <summary>The score at a position (not id).</summary>
    /// <param name="position">The position, from 0.</param>
    public double this[int position] => _values[position];

    /// <summary>The k examples with the highest scores; ties go to the first.</summary>
    /// <param name="k">How many; at most as many as there are.</param>
    /// <returns>The ranking.</returns>
    public RankedExamples Highest(int k) => RankedExamples.Rank($"{Title}, highest", Ids, _values, k, highest: true);

    /// <summary>The k examples with the lowest scores; ties go to the first.</summary>
    /// <param name="k">How many; at most as many as there are.</param>
    /// <returns>The ranking.</returns>
    public RankedExamples Lowest(int k) => RankedExamples.Rank($"{Title}, lowest", Ids, _values, k, highest: false);

    /// <summary>
    /// Writes the scores, as safetensors with ids and metadata (<c>scores [N]</c>, <c>ids</c>), or as a plain array when the
    /// name ends in <c>.npy</c>.
    /// </summary>
    /// <param name="path">The file, ending in <c>.safetensors</c> or <c>.npy</c>.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        var values = tensor(_values);
        if (path.EndsWith(".npy", StringComparison.OrdinalIgnoreCase))
        {
            Npy.Save(path, values);
            return;
        }

        Safetensors.CheckName(path, "The bare array is written as .npy.");
        Safetensors.Save(path, [("scores", values), ("ids", tensor(Ids.ToArray()))], Metadata.ToStrings());
    }

    /// <summary>Writes the scores as CSV, in the order of <see cref="Ids"/>: id, score.</summary>
    /// <param name="path">The file.</param>
    /// <param name="describe">From an example's id to a text, a last column <c>example</c>; null for none.</param>
    /// <exception cref="InfluenceException">It cannot be written; nothing was changed.</exception>
    public void SaveCsv(string path, Func<long, string?>? describe = null) =>
        Csv.Save(
            path,
            ["id", "score", .. describe is null ? Array.Empty<string>() : ["example"]],
            Ids.Zip(_values)
                .Select(pair =>
                    (IReadOnlyList<object>)(
                        describe is null ? [pair.First, pair.Second] : [pair.First, pair.Second, describe(pair.First) ?? string.Empty]
                    )
                )
        );

    /// <summary>
    /// Reads what <see cref="Save"/>, or another tool, wrote: <c>scores [N]</c> of any float type. Missing ids, as in a <c>.npy</c>, are 0,
    /// 1, 2, ...; where the file has no checksum, <see cref="ScoreMetadata.Integrity"/> says "unverified".
    /// </summary>
    /// <param name="path">The file.</param>
    /// <returns>The scores.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, damaged or something else.</exception>
    public static ExampleScores Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        using var file = ScoreFile.Open(path);
        var values = file.Scores("\"scores\" [N]");
        if (values.dim() != 1)
        {
            throw new InfluenceException(
                $"{path} has scores of shape [{string.Join(", ", values.shape)}]; expected [N]. A matrix is read by "
                    + "InfluenceScores.Load(path); ForQuery(row) gives a row of it."
            );
        }

        var ids = file.Ids("ids", values.numel());
        if (ids.Distinct().Count() != ids.Length)
        {
            throw new InfluenceException($"{path} holds an id twice; expected {ids.Length} different ids.");
        }

        return new ExampleScores(file.Metadata.Estimator, ids, values.to_type(ScalarType.Float64).data<double>().ToArray(), file.Metadata);
    }

    /// <summary>A table of the highest scores.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"{Title}: {Count:N0} examples, highest first",
            ["rank", "id", "score"],
            [.. Highest(Table.MaximumRows).Select(e => (IReadOnlyList<object>)[e.Rank, e.Id, e.Score])],
            Count
        );

    /// <summary>
    /// The mean over several runs that differ in their seed, as EL2N and GraNd are defined:
    /// <c>ExampleScores.Mean([.. runs.Select(r => r.El2n(..10))])</c>.
    /// </summary>
    /// <param name="runs">The same score of each run, of the same examples in any order.</param>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">No run, runs of different scores or of the same with other settings (such as the range of
    /// presentations), or runs of different examples.</exception>
    public static ExampleScores Mean(params IReadOnlyList<ExampleScores> runs) => OverRuns(runs, "mean", runs?.Count ?? 1);

    /// <summary>The sum over several runs that differ in their seed, as forgetting events are ranked.</summary>
    /// <param name="runs">The same score of each run, of the same examples in any order.</param>
    /// <returns>One score an example, in the order of the ids.</returns>
    /// <exception cref="InfluenceException">No run, runs of different scores or of the same with other settings (such as the range of
    /// presentations), or runs of different examples.</exception>
    public static ExampleScores Sum(params IReadOnlyList<ExampleScores> runs) => OverRuns(runs, "sum", 1);

    private static ExampleScores OverRuns(IReadOnlyList<ExampleScores>? runs, string how, int divisor)
    {
        ArgumentNullException.ThrowIfNull(runs);
        if (runs.Count == 0)
        {
            throw new InfluenceException("At least one run is expected; found none.");
        }

        var titles = runs.Select(r => r.Title).Distinct().ToList();
        if (titles.Count > 1)
        {
            throw new InfluenceException($"Runs are averaged of one score; found {string.Join(", ", titles)}.");
        }

        // The estimator holds the settings, such as the range of presentations.
        var estimators = runs.Select(r => r.Metadata.Estimator).Distinct().ToList();
        if (estimators.Count > 1)
        {
            throw new InfluenceException(
                $"Runs are averaged of one score with the same settings; found {string.Join(" and ", estimators)}."
            );
        }

        var values = runs.Select(r => r.Ids.Zip(r.Values).ToDictionary(s => s.First, s => s.Second)).ToList();
        var missing = values.SelectMany(v => v.Keys).Distinct().Where(id => values.Any(v => !v.ContainsKey(id))).Order().ToList();
        if (missing.Count > 0)
        {
            throw new InfluenceException(
                $"Every run scores the same examples; these are missing from at least one run: ids {InfluenceException.List(missing)}."
            )
            {
                ExampleIds = missing,
            };
        }

        long[] ids = [.. values[0].Keys.Order()];
        var notes = $"{how} over {runs.Count} runs; {runs[0].Metadata.Notes}";
        return new ExampleScores(
            titles[0],
            ids,
            Array.ConvertAll(ids, id => values.Sum(v => v[id]) / divisor),
            runs[0].Metadata with
            {
                Notes = notes,
            }
        );
    }
}
