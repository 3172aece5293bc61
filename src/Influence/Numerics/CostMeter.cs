using System.Diagnostics;
using System.Globalization;

namespace Influence.Numerics;

/// <summary>
/// What the call that runs on this thread has cost so far, stage by stage. A moment belongs to one stage alone, the innermost that is under
/// way; a call within a call hands its stages to the outer one when it ends.
/// </summary>
internal sealed class CostMeter : IDisposable
{
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(20);

    [ThreadStatic]
    private static CostMeter? s_current;

    private readonly CostMeter? _outer = s_current;
    private readonly List<Tally> _tallies = [];
    private readonly long _peakBefore = PeakSoFar();
    private Tally _stage;
    private long _since;
    private TimeSpan? _processor;
    private long _lookedAt;
    private long _memory;

    private CostMeter(string stage)
    {
        _outer?.Stop();
        _stage = TallyOf(stage);
        Start();
        s_current = this;
    }

    /// <summary>The meter of the call under way on this thread; null outside of calls.</summary>
    public static CostMeter? Current => s_current;

    /// <summary>Begins to measure a call; disposing the meter ends it.</summary>
    /// <param name="stage">What time belongs to that no stage claims.</param>
    public static CostMeter Begin(string stage) => new(stage);

    /// <summary>Begins a stage of the call under way; disposing it goes back to the one before. Outside of calls it does nothing.</summary>
    public static Part Stage(string name) => new(s_current, name);

    /// <summary>The stages so far, in the order of their beginnings, each of some time.</summary>
    public IReadOnlyList<Tally> Stages()
    {
        Stop();
        Start();
        return [.. _tallies.Where(tally => tally.Time > TimeSpan.Zero).Select(tally => tally with { })];
    }

    /// <summary>
    /// The most memory of the process in bytes that is known of the call: exact where the process never held as much before, else the most
    /// that was seen.
    /// </summary>
    public long PeakMemory()
    {
        var peak = PeakSoFar();
        var seen = _tallies.Max(tally => tally.Memory);
        return peak > _peakBefore ? Math.Max(peak, seen) : seen;
    }

    public void Dispose()
    {
        Stop();
        s_current = _outer;
        if (_outer is null)
        {
            return;
        }

        foreach (var tally in _tallies)
        {
            _outer.TallyOf(tally.Name).Add(tally.Time, tally.Processor, tally.Memory);
        }

        // It stood still meanwhile.
        _outer.Start();
    }

    private Tally Enter(Tally stage)
    {
        var before = _stage;
        Stop();
        _stage = stage;
        Start();
        return before;
    }

    private Tally TallyOf(string name)
    {
        if (_tallies.Find(tally => tally.Name == name) is { } found)
        {
            return found;
        }

        _tallies.Add(new Tally(name));
        return _tallies[^1];
    }

    private void Start()
    {
        _since = Stopwatch.GetTimestamp();
        _processor = Processor();
    }

    private void Stop()
    {
        var now = Stopwatch.GetTimestamp();
        if (_memory == 0 || Stopwatch.GetElapsedTime(_lookedAt, now) > s_look)
        {
            (_memory, _lookedAt) = (Environment.WorkingSet, now);
        }

        _stage.Add(Stopwatch.GetElapsedTime(_since, now), Processor() - _processor, _memory);
    }

    /// <summary>Of the process so far, all its threads together; null where the system does not tell.</summary>
    public static TimeSpan? Processor() =>
        OperatingSystem.IsIOS() || OperatingSystem.IsTvOS() || OperatingSystem.IsBrowser() ? null : Environment.CpuUsage.TotalTime;

    /// <summary>Linux says it in one line of a small file; asking for the whole process reads a file of every thread too.</summary>
    private static long PeakSoFar()
    {
        if (
            OperatingSystem.IsLinux()
            && File.ReadLines("/proc/self/status").FirstOrDefault(line => line.StartsWith("VmHWM:", StringComparison.Ordinal)) is { } line
            && long.TryParse(line.AsSpan(6).Trim().TrimEnd("kB").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var kibibytes)
        )
        {
            return kibibytes * 1024;
        }

        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }

    /// <summary>What one stage has taken.</summary>
    internal sealed record Tally(string Name)
    {
        public TimeSpan Time { get; private set; }

        /// <summary>Of the process, all its threads together; null where the system does not tell.</summary>
        public TimeSpan? Processor { get; private set; } = TimeSpan.Zero;

        /// <summary>The most bytes that the process was seen to hold.</summary>
        public long Memory { get; private set; }

        public void Add(TimeSpan time, TimeSpan? processor, long memory) =>
            (Time, Processor, Memory) = (Time + time, Processor + processor, Math.Max(Memory, memory));
    }

    /// <summary>A stage under way.</summary>
    internal readonly struct Part : IDisposable
    {
        private readonly CostMeter? _meter;
        private readonly Tally? _before;
        private readonly Spans.Span _span;

        public Part(CostMeter? meter, string name) => (_meter, _before, _span) = (meter, meter?.Enter(meter.TallyOf(name)), Spans.Of(name));

        public void Dispose()
        {
            _span.Dispose();
            _meter?.Enter(_before!);
        }
    }
}
