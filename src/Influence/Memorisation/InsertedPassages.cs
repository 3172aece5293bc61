using System.Globalization;
using Influence.Display;
using Influence.Evaluation;
using Influence.Numerics;

namespace Influence.Memorisation;

/// <summary>
/// Passages that are inserted into training data a known number of times, in known phases of training, chosen at random: how loss and
/// recitation depend on both. A passage with the count 0 is not inserted; what the model makes of it is what it would make of any of them.
/// </summary>
/// <remarks>
/// Because counts and phases are dealt at random, the difference between two levels is their effect, and an interval follows from the
/// passages alone, with one trained model. Reference: Wei et al., "Hubble: a Model Suite to Advance the Study of LLM Memorization", 2025.
/// </remarks>
public sealed record InsertedPassages
{
    /// <summary>How often passages are inserted; dealt evenly.</summary>
    /// <value>0, 1, 4, 16 and 64.</value>
    /// <exception cref="InfluenceException">Fewer than two, negative ones, or one twice.</exception>
    public IReadOnlyList<int> Counts
    {
        get;
        init =>
            field = Check.List(
                value,
                list => list.Count > 1 && list.All(count => count >= 0) && list.Distinct().Count() == list.Count,
                "holds two or more numbers of at least 0, none twice: Counts = [0, 1, 4, 16]"
            );
    } = [0, 1, 4, 16, 64];

    /// <summary>Into how many phases of equal length training is cut; a passage is inserted in one of them.</summary>
    /// <value>1: anywhere.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Phases
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 1;

    /// <summary>Of the deal.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>How intervals are made: over passages.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Deals passages to counts and phases, evenly and at random.</summary>
    /// <param name="ids">The passages' ids.</param>
    /// <returns>For each passage, in the order given, how often and in which phase (from 0) it is inserted.</returns>
    /// <exception cref="InfluenceException">Ids that repeat, or fewer than the counts times the phases.</exception>
    public IReadOnlyList<Planned> Assign(IReadOnlyList<long> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        if (ids.Distinct().Count() != ids.Count || ids.Count < Counts.Count * Phases)
        {
            throw new InfluenceException(
                $"At least {Counts.Count * Phases} passages are needed, one for each count and phase, no id "
                    + $"twice; found {ids.Count} ids, {ids.Distinct().Count()} different."
            );
        }

        var place = KeyedRandom
            .Shuffled(ids, KeyedRandom.Key(Seed, "inserted passages"), id => id)
            .Index()
            .ToDictionary(pair => pair.Item, pair => pair.Index);
        return [.. ids.Select(id => new Planned(id, Counts[place[id] % Counts.Count], place[id] / Counts.Count % Phases))];
    }

    /// <summary>Judges a trained model.</summary>
    /// <param name="insertions">What was inserted.</param>
    /// <param name="losses">The loss of each passage (per token).</param>
    /// <param name="recitation">How much of each is recited; null: not looked at.</param>
    /// <returns>Means for each count and phase.</returns>
    /// <exception cref="InfluenceException">Passages without a loss or a recitation, or losses that are not finite.</exception>
    public Result Evaluate(IReadOnlyList<Planned> insertions, ExampleScores losses, Recitation.Result? recitation = null)
    {
        ArgumentNullException.ThrowIfNull(insertions);
        ArgumentNullException.ThrowIfNull(losses);
        var loss = losses.Ids.Zip(losses.Values).ToDictionary(pair => pair.First, pair => pair.Second);
        var recited = recitation?.Ids.Zip(recitation.Recited).ToDictionary(pair => pair.First, pair => pair.Second);
        var missing = insertions
            .Select(i => i.Id)
            .Where(id => !loss.TryGetValue(id, out var value) || !double.IsFinite(value) || recited?.ContainsKey(id) == false)
            .ToList();
        if (missing.Count > 0 || insertions.Count == 0)
        {
            throw new InfluenceException(
                $"Every passage needs a loss that is finite{(recited is null ? string.Empty : " and a recitation")}; these have "
                    + $"none: {InfluenceException.List(missing)}."
            )
            {
                ExampleIds = missing,
            };
        }

        var levels = insertions
            .GroupBy(i => (i.Count, Phase: i.Count == 0 ? 0 : i.Phase))
            .OrderBy(g => g.Key.Count)
            .ThenBy(g => g.Key.Phase)
            .Select(group => new Row(
                group.Key.Count,
                group.Key.Phase,
                group.Count(),
                Bootstrap.Mean("loss of passages", [.. group.Select(i => loss[i.Id])]),
                recited is null ? null : Bootstrap.Mean("recited passages", [.. group.Select(i => recited[i.Id] ? 1.0 : 0.0)])
            ))
            .ToList();
        double[] counts = [.. insertions.Select(i => (double)i.Count)],
            all = [.. insertions.Select(i => loss[i.Id])];
        var late = insertions.Where(i => i.Count > 0).ToList();
        return new Result(
            levels,
            Ranks.Spearman(counts, all),
            Phases == 1 || late.Count < 3
                ? double.NaN
                : Ranks.Spearman([.. late.Select(i => (double)i.Phase)], [.. late.Select(i => loss[i.Id])])
        );
    }

    /// <summary>How one passage is inserted.</summary>
    /// <param name="Id">The passage.</param>
    /// <param name="Count">How often.</param>
    /// <param name="Phase">In which phase of training, from 0; of no meaning where the count is 0.</param>
    public sealed record Planned(long Id, int Count, int Phase);

    /// <summary>The passages of one count and phase.</summary>
    /// <param name="Count">How often each was inserted.</param>
    /// <param name="Phase">In which phase, from 0.</param>
    /// <param name="Passages">How many passages.</param>
    /// <param name="Loss">Their mean loss.</param>
    /// <param name="Recited">The share that is recited; null where it was not looked at.</param>
    public sealed record Row(int Count, int Phase, int Passages, Estimate Loss, Estimate? Recited);

    /// <summary>Loss and recitation by count and phase. Plain memory.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        internal Result(IReadOnlyList<Row> levels, double countCorrelation, double phaseCorrelation) =>
            (Levels, CountCorrelation, PhaseCorrelation) = (levels, countCorrelation, phaseCorrelation);

        /// <summary>One entry for each count and phase, by count and then phase; those that were not inserted are one entry.</summary>
        public IReadOnlyList<Row> Levels { get; }

        /// <summary>Spearman's correlation of count and loss over passages; negative where repeats are remembered.</summary>
        public double CountCorrelation { get; }

        /// <summary>The same of phase and loss over the passages that were inserted; NaN with one phase.</summary>
        public double PhaseCorrelation { get; }

        /// <summary>A table of the levels.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"Inserted passages: correlation of count and loss {CountCorrelation:0.000}, of "
                        + $"phase and loss {PhaseCorrelation:0.000}"
                ),
                ["inserted", "phase", "passages", "loss", "recited"],
                [
                    .. Levels.Select(level =>
                        (IReadOnlyList<object>)
                            [
                                level.Count,
                                level.Count == 0 ? "-" : level.Phase.ToString(CultureInfo.InvariantCulture),
                                level.Passages,
                                level.Loss,
                                level.Recited?.ToString() ?? "-",
                            ]
                    ),
                ]
            );
    }
}
