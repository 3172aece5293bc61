using System.Diagnostics;
using System.Globalization;
using Influence.Curvature;

namespace Samples.Pretrained;

/// <summary>What each stage took, beside a plain epoch of training and beside what the library said beforehand.</summary>
/// <param name="progress">What shows the stages while they run.</param>
internal sealed class Costs(ConsoleProgress progress)
{
    private readonly List<IReadOnlyList<string>> _rows =
    [
        ["stage", "seconds", "of the processor", "plain epochs", "estimated", "measured / estimated", "peak MiB beside what was there"],
    ];

    /// <summary>The processor's seconds of a plain epoch.</summary>
    public double Epoch { get; private set; } = double.NaN;

    public IReadOnlyList<IReadOnlyList<string>> Rows => _rows;

    /// <summary>Runs a training, which says what a plain epoch takes.</summary>
    /// <param name="stage">Its name.</param>
    /// <param name="epochs">How many.</param>
    /// <param name="train">Trains.</param>
    public void MeasureTraining(string stage, int epochs, Action train)
    {
        var before = Processor();
        Measure(
            stage,
            () =>
            {
                train();
                return Epoch = (Processor() - before) / epochs;
            }
        );
    }

    /// <summary>Runs a stage.</summary>
    /// <param name="stage">Its name.</param>
    /// <param name="work">What it does.</param>
    /// <param name="estimate">What the library said that it would take; null where it was not asked.</param>
    public T Measure<T>(string stage, Func<T> work, CurvatureCost? estimate = null)
    {
        var before = Memory.ResetPeak();
        var (watch, processor) = (Stopwatch.StartNew(), Processor());
        var result = work();
        var (seconds, used) = (watch.Elapsed.TotalSeconds, Processor() - processor);
        var peak = (Memory.Peak() - before) / (1 << 20);
        _rows.Add([
            stage,
            Number(seconds, "0.0"),
            Number(used, "0.0"),
            Number(used / Epoch, "0.0"),
            estimate is null
                ? string.Empty
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"{estimate.Time.TotalSeconds:0.0} s, {estimate.PeakBytes / (1 << 20):N0} MiB"
                ),
            estimate is null ? string.Empty : Number(seconds / estimate.Time.TotalSeconds, "0.00"),
            peak.ToString("N0", CultureInfo.InvariantCulture),
        ]);
        progress.Clear();
        Console.WriteLine(
            string.Join(
                "  ",
                _rows[0]
                    .Zip(_rows[^1])
                    .Where(cell => cell.Second.Length > 0)
                    .Select(cell => cell.First == "stage" ? cell.Second : $"{cell.First}: {cell.Second}")
            )
        );
        return result;
    }

    /// <summary>Seconds that the process had a processor for, all threads together: where others share the machine, these tell more than
    /// the clock.</summary>
    private static double Processor() => Process.GetCurrentProcess().TotalProcessorTime.TotalSeconds;

    private static string Number(double value, string format) =>
        double.IsFinite(value) ? value.ToString(format, CultureInfo.InvariantCulture) : string.Empty;
}
