using Influence.Display;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>One score per example: self-influence, or one query's row of a score matrix. Plain memory; nothing to dispose.</summary>
[TypeFormatterSource(typeof(HtmlTables))]
public sealed partial class ExampleScores : IDisplay
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

        Safetensors.CheckName(path);
        Safetensors.Save(path, [("scores", values), ("ids", tensor(Ids.ToArray()))], Metadata.ToStrings());
    }

    /// <summary>Reads what <see cref="Save"/> wrote; a <c>.npy</c> has no ids, they are then 0, 1, 2, ...</summary>
    /// <param name="path">The file.</param>
    /// <returns>The scores.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated or something else.</exception>
    public static ExampleScores Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var scope = NewDisposeScope();
        var (tensors, metadata) = path.EndsWith(".npy", StringComparison.OrdinalIgnoreCase) ? FromNpy(path) : Safetensors.Load(path);
        if (!tensors.TryGetValue("scores", out var values) || !tensors.TryGetValue("ids", out var ids)
            || values.dim() != 1 || ids.dtype != ScalarType.Int64 || ids.numel() != values.numel())
        {
            throw new InfluenceException($"{path} holds {InfluenceException.List([.. tensors.Keys])}; expected \"scores\" [N] and \"ids\" [N] of int64.");
        }

        var read = ScoreMetadata.FromStrings(metadata);
        return new ExampleScores(read.Estimator, ids.data<long>().ToArray(), values.to_type(ScalarType.Float64).data<double>().ToArray(), read);
    }

    private static (Dictionary<string, Tensor> Tensors, Dictionary<string, string> Metadata) FromNpy(string path)
    {
        var scores = Npy.Load(path);
        return (new() { ["scores"] = scores, ["ids"] = arange(0, scores.numel(), 1, ScalarType.Int64) }, []);
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
