using System.Globalization;
using Influence.Display;

namespace Influence.Training;

/// <summary>How often each example was forgotten over a run (Toneva et al., An Empirical Study of Example Forgetting, 2019).</summary>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class ForgettingEvents : IDisplay
{
    internal ForgettingEvents(ExampleScores scores, IReadOnlyList<long> unforgettable, IReadOnlyList<long> neverLearnt) =>
        (Scores, Unforgettable, NeverLearnt) = (scores, unforgettable, neverLearnt);

    /// <summary>
    /// The number of events of each example, and the value that was asked for where it was never learnt. The paper adds up several
    /// runs before it ranks: <see cref="ExampleScores.Sum"/>.
    /// </summary>
    public ExampleScores Scores { get; }

    /// <summary>The examples that were learnt and never forgotten; the paper trains without them at little loss.</summary>
    public IReadOnlyList<long> Unforgettable { get; }

    /// <summary>The examples that were never correct.</summary>
    public IReadOnlyList<long> NeverLearnt { get; }

    /// <summary>A table of how many examples were forgotten how often.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable()
    {
        var never = NeverLearnt.ToHashSet();
        var counts = Scores.Ids.Zip(Scores.Values).Where(s => !never.Contains(s.First)).CountBy(s => s.Second).OrderBy(c => c.Key);
        return new Table(
            string.Create(
                CultureInfo.InvariantCulture,
                $"Forgetting events of {Scores.Count:N0} examples: {Unforgettable.Count:N0} "
                    + $"unforgettable, {NeverLearnt.Count:N0} never learnt"
            ),
            ["events", "examples"],
            [.. counts.Select(c => (IReadOnlyList<object>)[c.Key, c.Value])]
        );
    }
}
