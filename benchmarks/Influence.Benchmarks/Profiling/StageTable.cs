using System.Globalization;
using Influence.Numerics;

namespace Influence.Benchmarks.Profiling;

/// <summary>The stages of a call as a table; those that take next to nothing are left to the stage that they are in.</summary>
internal static class StageTable
{
    private const double Least = 0.004;

    public static TextTable Of(Spans.Tally stages, BareOperations bare, int times)
    {
        var table = new TextTable("stage", "calls", "ms", "share", "MB", "bare, ms", "over bare");
        var whole = stages.SecondsInAll;
        Add(stages, 0);
        return table;

        void Add(Spans.Tally stage, int depth)
        {
            var (shown, small) = (new List<Spans.Tally>(), 0.0);
            foreach (var part in stage.Within)
            {
                if (part.SecondsInAll >= Least * whole)
                {
                    shown.Add(part);
                }
                else
                {
                    small += part.SecondsInAll;
                }
            }

            var own = stage.Seconds + small;
            var alone = bare.SecondsOf(stage);
            table.Add(
                string.Concat(Enumerable.Repeat("· ", depth)) + (stage.Detail is { } detail ? $"{stage.Name}: {detail}" : stage.Name),
                stage.Calls == 0 ? string.Empty : Number(stage.Calls / (double)times, "0.#"),
                Number(own * 1000 / times, "F2"),
                (own / whole).ToString("P1", CultureInfo.InvariantCulture),
                stage.Bytes == 0 ? string.Empty : Number(stage.Bytes / 1e6 / times, "F1"),
                alone is { } b ? Number(b * 1000 / times, "F2") : string.Empty,
                alone is > 0 ? Number(own / alone.Value, "F2") : string.Empty
            );
            shown.ForEach(part => Add(part, depth + 1));
        }
    }

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
