using System.Diagnostics;
using System.Globalization;
using Influence.Curvature;

namespace Samples.Pretrained;

/// <summary>What each stage took, beside a plain epoch of training and beside what the library said beforehand.</summary>
internal sealed class Costs
{
    private readonly List<IReadOnlyList<string>> _rows = [["stage", "seconds", "plain epochs", "estimated", "measured / estimated", "peak MiB beside what was there"]];

    /// <summary>Seconds of a plain epoch.</summary>
    public double Epoch { get; set; } = double.NaN;

    public IReadOnlyList<IReadOnlyList<string>> Rows => _rows;

    /// <summary>Runs a stage.</summary>
    /// <param name="stage">Its name.</param>
    /// <param name="work">What it does.</param>
    /// <param name="estimate">What the library said that it would take; null where it was not asked.</param>
    public T Measure<T>(string stage, Func<T> work, CurvatureCost? estimate = null)
    {
        var before = Memory.ResetPeak();
        var watch = Stopwatch.StartNew();
        var result = work();
        var seconds = watch.Elapsed.TotalSeconds;
        var peak = (Memory.Peak() - before) / (1 << 20);
        _rows.Add(
        [
            stage, Number(seconds, "0.0"), Number(seconds / Epoch, "0.0"),
            estimate is null ? string.Empty : string.Create(CultureInfo.InvariantCulture, $"{estimate.Time.TotalSeconds:0.0} s, {estimate.PeakBytes / (1 << 20):N0} MiB"),
            estimate is null ? string.Empty : Number(seconds / estimate.Time.TotalSeconds, "0.00"),
            peak.ToString("N0", CultureInfo.InvariantCulture),
        ]);
        Console.WriteLine(string.Join("  ", _rows[0].Zip(_rows[^1]).Where(cell => cell.Second.Length > 0).Select(cell => cell.First == "stage" ? cell.Second : $"{cell.First}: {cell.Second}")));
        return result;
    }

    private static string Number(double value, string format) => double.IsFinite(value) ? value.ToString(format, CultureInfo.InvariantCulture) : string.Empty;
}
