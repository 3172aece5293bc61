using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Influence.Display;
using Influence.Formats;

namespace Influence.Selection;

/// <summary>The examples to train on, in the order in which they were picked. Plain memory; nothing to dispose.</summary>
[TypeFormatterSource(typeof(HtmlTables))]
public sealed class SelectedExamples : IDisplay
{
    private static readonly JsonSerializerOptions s_json = new() { NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals };

    private SelectedExamples(Record record)
    {
        Ids = record.Ids;
        Weights = record.Weights;
        Utilities = record.Utilities;
        (Strategy, Settings, Seed, Budget, PoolCount, Notes) = (record.Strategy, record.Settings, record.Seed, record.Budget, record.PoolCount, record.Notes);
    }

    internal SelectedExamples(SelectionStrategy strategy, SelectionPool pool, SelectionBudget budget, Picks picks, IReadOnlyList<string> notes)
        : this(new Record(
            [.. picks.Positions.Select(p => pool.Ids[p])],
            [.. picks.Weights],
            [.. picks.Utilities],
            strategy.Name,
            strategy.ToString(),
            strategy.Seed,
            budget.ToString(),
            pool.Count,
            [.. notes]))
    {
    }

    /// <summary>The ids, first pick first.</summary>
    public IReadOnlyList<long> Ids { get; }

    /// <summary>How much each counts in training; 1 unless the strategy weighs.</summary>
    public IReadOnlyList<double> Weights { get; }

    /// <summary>What each was worth to the strategy at the moment of the pick, in the strategy's unit; may be infinite, never NaN.</summary>
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

    /// <summary>Writes the selection as JSON.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InfluenceException">It cannot be written; nothing was changed.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        AtomicFile.Write(path, stream => JsonSerializer.Serialize(
            stream, new Record([.. Ids], [.. Weights], [.. Utilities], Strategy, Settings, Seed, Budget, PoolCount, [.. Notes]), s_json));
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
            using var stream = File.OpenRead(path);
            if (JsonSerializer.Deserialize<Record>(stream, s_json) is
                {
                    Ids: not null, Weights: not null, Utilities: not null, Strategy: not null, Settings: not null, Budget: not null, Notes: not null,
                } record
                && record.Ids.Length == record.Weights.Length && record.Ids.Length == record.Utilities.Length
                && record.Ids.Distinct().Count() == record.Ids.Length && record.Weights.All(weight => double.IsFinite(weight) && weight >= 0))
            {
                return new SelectedExamples(record);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new InfluenceException($"{path} cannot be read as a selection: {exception.Message}", exception);
        }

        throw new InfluenceException($"{path} is not a selection: ids that do not repeat, with weights that are finite and not negative, and utilities, as SelectedExamples.Save writes them.");
    }

    /// <summary>A table of the first picks.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() => new(
        string.Create(CultureInfo.InvariantCulture, $"{Strategy}: {Count:N0} of {PoolCount:N0} examples ({Budget}), seed {Seed}"),
        ["pick", "id", "weight", "utility"],
        [.. Enumerable.Range(0, Math.Min(Count, Table.MaximumRows)).Select(i => (IReadOnlyList<object>)[i + 1, Ids[i], Weights[i], Utilities[i]])],
        Count);

    private sealed record Record(
        long[] Ids, double[] Weights, double[] Utilities, string Strategy, string Settings, long Seed, string Budget, int PoolCount, string[] Notes);
}
