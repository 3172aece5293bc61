namespace Influence.Benchmarks.Measuring;

/// <summary>The seconds of one piece of work, run by run.</summary>
internal sealed class Samples
{
    private readonly List<double> _seconds = [];

    public int Runs => _seconds.Count;

    public double Min => _seconds.Min();

    public double Max => _seconds.Max();

    public double Median
    {
        get
        {
            var sorted = _seconds.Order().ToArray();
            var middle = sorted.Length / 2;
            return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
        }
    }

    public void Add(double seconds) => _seconds.Add(seconds);
}
