using System.Diagnostics;

namespace Influence.Numerics;

/// <summary>What a stretch of work took.</summary>
/// <param name="Clock">By the clock.</param>
/// <param name="Processor">Of the processor, all threads of the process together; null where the system does not tell.</param>
internal readonly record struct Spent(TimeSpan Clock, TimeSpan? Processor)
{
    /// <summary>A sample shorter than this is too short for its time to be that of others.</summary>
    private static readonly TimeSpan s_enough = TimeSpan.FromMilliseconds(250);

    /// <summary>Nothing.</summary>
    public static Spent Zero => new(TimeSpan.Zero, TimeSpan.Zero);

    /// <summary>What work takes.</summary>
    public static Spent Of(Action work)
    {
        var (processor, started) = (CostMeter.Processor(), Stopwatch.GetTimestamp());
        work();
        return new Spent(Stopwatch.GetElapsedTime(started), CostMeter.Processor() - processor);
    }

    /// <summary>What work takes at best: what is short is done three times, since the first time is slower and others use the
    /// machine.</summary>
    public static Spent Least(Action work)
    {
        var least = Of(work);
        for (var again = 0; again < 2 && least.Clock < s_enough; again++)
        {
            var next = Of(work);
            least = next.Clock < least.Clock ? next : least;
        }

        return least;
    }

    /// <summary>
    /// What work on all examples takes, from some of the first: more and more of them until they take a quarter of a second, and those once
    /// more, since the first time is slower than those after it.
    /// </summary>
    /// <param name="train">N examples.</param>
    /// <param name="work">The work on some of them.</param>
    public static Spent OfAll(Examples train, Action<Examples> work)
    {
        for (long count = Math.Min(train.BatchSize, train.Count); ; count = Math.Min(4 * count, train.Count))
        {
            var part = train.Range(0, (int)count);
            if (Of(() => work(part)).Clock >= s_enough || count == train.Count)
            {
                return Of(() => work(part)) * ((double)train.Count / count);
            }
        }
    }

    public static Spent operator +(Spent left, Spent right) => new(left.Clock + right.Clock, left.Processor + right.Processor);

    public static Spent operator *(Spent left, double factor) => new(left.Clock * factor, left.Processor * factor);

    public static Spent Add(Spent left, Spent right) => left + right;

    public static Spent Multiply(Spent left, double factor) => left * factor;
}
