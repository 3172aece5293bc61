using Influence.Display;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>One score per example: self-influence, or one query's row of a score matrix. Plain memory; nothing to dispose.</summary>
[TypeFormatterSource(typeof(HtmlTables))]
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
            throw new InfluenceException($"One score for each id is expected, and no id twice; found {ids.Count} ids ({ids.Distinct().Count()} different) and {values.Count} scores.");
        }

        return new ExampleScores(title, [.. ids], [.. values], new ScoreMetadata { Estimator = title, Sign = "high = first", Unit = "its own" });
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

    /// <summary>
    /// Reads what <see cref="Save"/>, or another tool, wrote: <c>scores [N]</c> of any float type. Missing ids, as in a <c>.npy</c>, are 0, 1, 2, ...;
    /// where the file has no checksum, <see cref="ScoreMetadata.Integrity"/> says "unverified".
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
                $"{path} has scores of shape [{string.Join(", ", values.shape)}]; expected [N]. A matrix is read by InfluenceScores.Load(path); ForQuery(row) gives a row of it.");
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

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() => new(
        $"{Title}: {Count:N0} examples, highest first",
        ["rank", "id", "score"],
        [.. Highest(Table.MaximumRows).Select(e => (IReadOnlyList<object>)[e.Rank, e.Id, e.Score])],
        Count);
}
