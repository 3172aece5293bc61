namespace Influence.Benchmarks.Measuring;

/// <summary>The seconds of one piece of work, run by run.</summary>
internal sealed class Samples
{
    private readonly List<double> _seconds = [];

    public int Runs => _seconds.Count;

    public double Min => _seconds.Min();

    public double Max => _seconds.Max();

    public double Median => MedianOf(_seconds);

    public void Add(double seconds) => _seconds.Add(seconds);

    /// <summary>The median over the runs of this one's time over the other's of the same round: a slow stretch hits both.</summary>
    public double MedianRatioTo(Samples other) => MedianOf(_seconds.Zip(other._seconds, (own, of) => own / of));

    private static double MedianOf(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
