namespace Influence.Training;

/// <summary>Which example came when: one entry for each presentation, in the order of the run, and how often each example came.</summary>
internal sealed class Appearances
{
    private readonly List<int> _counts = [];

    /// <summary>The number of each entry's example.</summary>
    public Column<int> Examples { get; } = new();

    /// <summary>How often the most frequent example came.</summary>
    public int Most { get; private set; }

    /// <summary>The highest number of an example; -1 before the first.</summary>
    public int Highest => _counts.Count - 1;

    public void Add(int example)
    {
        while (_counts.Count <= example)
        {
            _counts.Add(0);
        }

        Most = Math.Max(Most, ++_counts[example]);
        Examples.Add(example);
    }

    /// <summary>How often an example came.</summary>
    public int CountOf(int example) => example < _counts.Count ? _counts[example] : 0;
}
