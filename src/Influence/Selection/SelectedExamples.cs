using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Influence.Display;
using Influence.Formats;
using TorchSharp;

namespace Influence.Selection;

/// <summary>The examples to train on, in the order in which they were picked. Plain memory; nothing to dispose.</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed partial class SelectedExamples : IDisplay
{
    private static readonly JsonSerializerOptions s_json = new() { NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    private SelectedExamples(Record record)
    {
        Ids = record.Ids;
        Weights = record.Weights;
        Utilities = record.Utilities;
        (Strategy, Settings, Seed, Budget, PoolCount, Notes) = (
            record.Strategy,
            record.Settings,
            record.Seed,
            record.Budget,
            record.PoolCount,
            record.Notes
        );
    }

    internal SelectedExamples(
        SelectionStrategy strategy,
        SelectionPool pool,
        SelectionBudget budget,
        Picks picks,
        IReadOnlyList<string> notes
    )
        : this(
            new Record(
                [.. picks.Positions.Select(p => pool.Ids[p])],
                [.. picks.Weights],
                [.. picks.Utilities],
                strategy.Name,
                strategy.ToString(),
                strategy.Seed,
                budget.ToString(),
                pool.Count,
                [.. notes]
            )
        ) { }

    /// <summary>The ids, first pick first.</summary>
    public IReadOnlyList<long> Ids { get; }

    /// <summary>How much each counts in training; 1 unless the strategy weighs.</summary>
    public IReadOnlyList<double> Weights { get; }

    /// <summary>What each was worth to the strategy at the moment of the pick, in the strategy's unit; may be infinite, never
    /// NaN.</summary>
    public IReadOnlyList<double> Utilities { get; }

    /// <summary>The strategy's name.</summary>
    public string Strategy { get; }

    /// <summary>The strategy with its settings, in words.</summary>
    public string Settings { get; }

    /// <summary>The seed.</summary>
    public long Seed { get; }

    /// <summary>The budget, in words.</summary>
    public string Budget { get; }

    /// <summary>How many there were to choose from.</summary>
    public int PoolCount { get; }

    /// <summary>What the strategy had to say, for example that it left out constant columns.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <summary>The number of examples.</summary>
    public int Count => Ids.Count;

    /// <summary>The selected examples of a source, in the source's order.</summary>
    /// <param name="examples">Has all of the selected ids.</param>
    /// <returns>The examples; the source stays the caller's.</returns>
    /// <exception cref="InfluenceException">A selected id that no example has.</exception>
    public Examples From(Examples examples)
    {
        ArgumentNullException.ThrowIfNull(examples);
        return examples.Only(Ids);
    }

    /// <summary>The selected examples of a data set whose examples are dictionaries, in the order of the picks.</summary>
    /// <param name="data">Stays the caller's.</param>
    /// <param name="ids">The ids of the data set's examples, in its order. Null: their positions, as <see cref="Examples.Ids"/> has them by
    /// default.</param>
    /// <param name="weight">The name of a tensor that each example gets with its weight, float32 of shape <c>[]</c>. Null: none.</param>
    /// <returns>A data set for a <c>DataLoader</c>.</returns>
    /// <exception cref="InfluenceException">A selected id that no example has, or another number of ids than of examples.</exception>
    public Dataset From(torch.utils.data.Dataset data, IReadOnlyList<long>? ids = null, string? weight = null)
    {
        ArgumentNullException.ThrowIfNull(data);
        return new Dataset(data, this, ids, weight);
    }

    /// <summary>The selected examples of a data set whose examples are lists of tensors, in the order of the picks.</summary>
    /// <param name="data">For example a <c>TensorDataset</c>; stays the caller's.</param>
    /// <param name="ids">The ids of the data set's examples, in its order. Null: their positions, as <see cref="Examples.Ids"/> has them by
    /// default.</param>
    /// <param name="weighted">Whether each example gets one more tensor at the end, its weight, float32 of shape <c>[]</c>.</param>
    /// <returns>A data set for a <c>DataLoader</c>.</returns>
    /// <exception cref="InfluenceException">A selected id that no example has, or another number of ids than of examples.</exception>
    public IterableDataset From(torch.utils.data.IterableDataset data, IReadOnlyList<long>? ids = null, bool weighted = false)
    {
        ArgumentNullException.ThrowIfNull(data);
        return new IterableDataset(data, this, ids, weighted);
    }

    /// <summary>The indices of the selected examples in the order of the picks, the same at each pass.</summary>
    /// <param name="ids">The ids of the data set's examples, in its order; for a <see cref="SelectedExamples.Dataset"/> its Ids. Null:
    /// their positions in the whole data set.</param>
    /// <returns>For a <c>DataLoader</c>'s <c>shuffler</c>: each enumeration is the next pass. <c>Count</c> is a pass's; the loader's own
    /// counts the data set.</returns>
    /// <exception cref="InfluenceException">A selected id that is not among the ids.</exception>
    public IReadOnlyCollection<long> Sampler(IReadOnlyList<long>? ids = null) => ExampleSampler.InOrder(IndicesIn(ids));

    /// <summary>The indices of the selected examples, at each pass in another order.</summary>
    /// <param name="seed">Of the orders.</param>
    /// <param name="ids">The ids of the data set's examples, in its order; for a <see cref="SelectedExamples.Dataset"/> its Ids. Null:
    /// their positions in the whole data set.</param>
    /// <returns>For a <c>DataLoader</c>'s <c>shuffler</c>: each enumeration is the next pass. <c>Count</c> is a pass's; the loader's own
    /// counts the data set.</returns>
    /// <exception cref="InfluenceException">A selected id that is not among the ids.</exception>
    public IReadOnlyCollection<long> ShuffledSampler(long seed, IReadOnlyList<long>? ids = null) =>
        ExampleSampler.Shuffled(IndicesIn(ids), seed);

    /// <summary>
    /// Draws with replacement, each example in proportion to its weight: the expected gradient is that of the weighted loss,
    /// up to its scale, and no loss needs to know of weights.
    /// </summary>
    /// <param name="seed">Of the draws; each pass has others.</param>
    /// <param name="count">Draws in a pass. Null: as many as are selected.</param>
    /// <param name="ids">The ids of the data set's examples, in its order; for a <see cref="SelectedExamples.Dataset"/> its Ids. Null:
    /// their positions in the whole data set.</param>
    /// <returns>For a <c>DataLoader</c>'s <c>shuffler</c>: each enumeration is the next pass. <c>Count</c> is a pass's; the loader's own
    /// counts the data set.</returns>
    /// <exception cref="InfluenceException">A selected id that is not among the ids, less than one draw, or weights that are all
    /// zero.</exception>
    public IReadOnlyCollection<long> WeightedSampler(long seed, int? count = null, IReadOnlyList<long>? ids = null)
    {
        if (count < 1)
        {
            throw new InfluenceException($"A pass has at least one draw, not {count}.");
        }

        return Weights.Any(weight => weight > 0)
            ? ExampleSampler.Weighted(IndicesIn(ids), Weights, count ?? Count, seed)
            : throw new InfluenceException($"Nothing can be drawn in proportion to weights: all {Count} are zero.");
    }

    /// <summary>Writes the selection as JSON.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InfluenceException">It cannot be written; nothing was changed.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        AtomicFile.Write(
            path,
            stream =>
                JsonSerializer.Serialize(
                    stream,
                    new Record([.. Ids], [.. Weights], [.. Utilities], Strategy, Settings, Seed, Budget, PoolCount, [.. Notes]),
                    s_json
                )
        );
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The selection.</returns>
    /// <exception cref="InfluenceException">The file is missing or something else.</exception>
    public static SelectedExamples Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            using var stream = SharedFile.OpenRead(path);
            if (
                JsonSerializer.Deserialize<Record>(stream, s_json)
                    is {
                        Ids: not null,
                        Weights: not null,
                        Utilities: not null,
                        Strategy: not null,
                        Settings: not null,
                        Budget: not null,
                        Notes: not null,
                    } record
                && record.Ids.Length == record.Weights.Length
                && record.Ids.Length == record.Utilities.Length
                && record.Ids.Distinct().Count() == record.Ids.Length
                && record.Weights.All(weight => double.IsFinite(weight) && weight >= 0)
            )
            {
                return new SelectedExamples(record);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new InfluenceException($"{path} cannot be read as a selection: {exception.Message}", exception);
        }

        throw new InfluenceException(
            $"{path} is not a selection: ids that do not repeat, with weights that are finite and not negative, "
                + "and utilities, as SelectedExamples.Save writes them."
        );
    }

    /// <summary>Where the picks are in a data set; <paramref name="count"/> is the number of its examples, where it is known.</summary>
    internal long[] IndicesIn(IReadOnlyList<long>? ids, long? count = null) => Positions.Of(Ids, ids, count);

    /// <summary>A table of the first picks.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            string.Create(CultureInfo.InvariantCulture, $"{Strategy}: {Count:N0} of {PoolCount:N0} examples ({Budget}), seed {Seed}"),
            ["pick", "id", "weight", "utility"],
            [
                .. Enumerable
                    .Range(0, Math.Min(Count, Table.MaximumRows))
                    .Select(i => (IReadOnlyList<object>)[i + 1, Ids[i], Weights[i], Utilities[i]]),
            ],
            Count
        );

    private sealed record Record(
        long[] Ids,
        double[] Weights,
        double[] Utilities,
        string Strategy,
        string Settings,
        long Seed,
        string Budget,
        int PoolCount,
        string[] Notes
    );
}
