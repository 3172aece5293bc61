using System.Globalization;

namespace Influence.Training;

/// <summary>
/// A range of presentations, applied to each example's own: <c>0</c> is the first time that the example was in a batch,
/// <c>^1</c> its last. An example that came less often than the range asks takes part with what it has.
/// </summary>
internal sealed class PresentationWindow
{
    private readonly Appearances _appearances;
    private readonly Range _range;
    private readonly int _examples;

    public PresentationWindow(Appearances appearances, int examples, Range range, string what)
    {
        (_appearances, _examples, _range) = (appearances, examples, range);
        if (appearances.Most == 0)
        {
            throw new InfluenceException($"No {what} has been recorded yet. {Advice(what)}");
        }

        var (start, end) = (_range.Start, _range.End);
        if (!start.IsFromEnd && !end.IsFromEnd && start.Value >= end.Value)
        {
            throw new InfluenceException(
                $"The range {_range} of presentations is empty. Write ..10 for the first ten, 1.. to leave out "
                    + "the first, ^1.. for the last."
            );
        }

        var needed = Math.Max(start.IsFromEnd ? start.Value : start.Value + 1, end.IsFromEnd ? end.Value + 1 : end.Value);
        if (needed > appearances.Most)
        {
            throw new InfluenceException(
                $"The range {_range} asks for {needed} presentations of an example; no example has more than {appearances.Most} so "
                    + $"far ({what}). Record more, or write a range within ..{appearances.Most}."
            );
        }

        Members = [.. Enumerable.Range(0, examples).Where(i => CountOf(i) > 0)];
        if (Members.Count == 0)
        {
            throw new InfluenceException(
                $"No example has a presentation in the range {_range}; the most that an example has is {appearances.Most}."
            );
        }
    }

    /// <summary>The examples that have at least one presentation in the range.</summary>
    public IReadOnlyList<int> Members { get; }

    /// <summary>How many of an example's presentations lie in the range.</summary>
    public int CountOf(int example)
    {
        var (start, end) = Bounds(_appearances.CountOf(example));
        return Math.Max(0, end - start);
    }

    /// <summary>Every presentation in the range, in the order of the run: the example and the entry's position.</summary>
    public void ForEach(Action<int, long> take)
    {
        var seen = new int[_examples];
        for (long position = 0; position < _appearances.Examples.Count; position++)
        {
            var example = _appearances.Examples[position];
            var (start, end) = Bounds(_appearances.CountOf(example));
            var presentation = seen[example]++;
            if (presentation >= start && presentation < end)
            {
                take(example, position);
            }
        }
    }

    /// <summary>The range, the same in every run that was asked for it.</summary>
    public string Name => $"presentations {_range}";

    /// <summary>What the range covers, for whoever reads the scores.</summary>
    public string Describe()
    {
        var (fewest, most, fewer) = (int.MaxValue, 0, 0);
        foreach (var example in Members)
        {
            (fewest, most) = (Math.Min(fewest, CountOf(example)), Math.Max(most, CountOf(example)));
        }

        foreach (var example in Members)
        {
            fewer += CountOf(example) < most ? 1 : 0;
        }

        var text = string.Create(CultureInfo.InvariantCulture, $"{Name} of each example, {most} of them");
        if (fewer > 0)
        {
            text += string.Create(
                CultureInfo.InvariantCulture,
                $"; {fewer:N0} of {Members.Count:N0} examples have fewer, at least {fewest}"
            );
        }

        return Members.Count == _examples
            ? text
            : text
                + string.Create(
                    CultureInfo.InvariantCulture,
                    $"; {_examples - Members.Count:N0} examples have none there and are left out"
                );
    }

    private (int Start, int End) Bounds(int count)
    {
        var start = _range.Start.IsFromEnd ? count - _range.Start.Value : _range.Start.Value;
        var end = _range.End.IsFromEnd ? count - _range.End.Value : _range.End.Value;
        return (Math.Max(0, start), Math.Min(count, end));
    }

    private static string Advice(string what) =>
        what == "presentation"
            ? "Call dynamics.Record(ids, logits, labels) after each forward pass."
            : "Call dynamics.RecordGradientNorms(ids, norms) in each step.";
}
