using System.Diagnostics;

namespace Influence.Quality.Judging;

/// <summary>A value and what it took to make.</summary>
internal static class Clocked
{
    public static (T Value, double Seconds) Run<T>(Func<T> make)
    {
        var clock = Stopwatch.StartNew();
        var value = make();
        return (value, clock.Elapsed.TotalSeconds);
    }
}
