using System.Diagnostics;
using System.Globalization;

namespace Samples.Pretrained;

/// <summary>How many bytes of memory the process has in use, as Linux counts them.</summary>
internal static class Memory
{
    private const string Status = "/proc/self/status";

    /// <summary>Has the system count the peak anew, where it can.</summary>
    /// <returns>What is in use now.</returns>
    public static long ResetPeak()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        try
        {
            File.WriteAllText("/proc/self/clear_refs", "5");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Then the peak is that of the whole run.
        }

        return Read("VmRSS:") ?? Process.GetCurrentProcess().WorkingSet64;
    }

    public static long Peak() => Read("VmHWM:") ?? Process.GetCurrentProcess().PeakWorkingSet64;

    private static long? Read(string field)
    {
        if (!File.Exists(Status))
        {
            return null;
        }

        var line = File.ReadLines(Status).First(l => l.StartsWith(field, StringComparison.Ordinal));
        return 1024 * long.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
    }
}
