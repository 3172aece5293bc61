using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Influence.Benchmarks.Measuring;

/// <summary>
/// The processor time that the calling thread takes, which other load on the machine does not stretch as it does a clock's time. With one
/// libtorch thread it is all the work of a call: autograd runs on the caller's thread. Elsewhere than on Linux it is the clock's time.
/// </summary>
internal static partial class ThreadClock
{
    private const int ThreadTime = 3;

    /// <summary>The seconds that an action takes.</summary>
    public static double Time(Action action)
    {
        var before = Now();
        action();
        return Now() - before;
    }

    /// <summary>The seconds that the calling thread has taken so far.</summary>
    public static double Now() =>
        OperatingSystem.IsLinux() && ReadClock(ThreadTime, out var time) == 0
            ? time.Seconds + (time.Nanoseconds / 1e9)
            : Stopwatch.GetTimestamp() / (double)Stopwatch.Frequency;

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int ReadClock(int clock, out TimeSpec time);

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }
}
