using System.Globalization;
using System.Text;

namespace Influence.Benchmarks.Reporting;

/// <summary>The report as Markdown; the same text goes to the terminal.</summary>
internal static class MarkdownReport
{
    public static string Header(Report report)
    {
        var text = new StringBuilder();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"# TracIn, influence functions and group influence in plain epochs, {report.Date}, "
                + $"{report.Device}{(report.Quick ? " (quick: each once, some on fewer examples: see the titles)" : string.Empty)}"
        );
        text.AppendLine();
        text.AppendLine(
            "One plain epoch: forward, mean loss and backward over the same training set at the same batch size, no optimizer step."
        );
        text.AppendLine(
            "Seconds are medians of runs taken in turn in one process; \"of minima\" compares the fastest runs, which other "
                + "work on the"
        );
        text.AppendLine("machine disturbs least. Peak memory is what a process of its own took beyond the model and the data.");
        text.AppendLine();
        foreach (var (name, value) in report.Machine)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"- {name}: {value}");
        }

        return text.ToString();
    }

    public static string Section(WorkloadReport workload)
    {
        var text = new StringBuilder();
        text.AppendLine(CultureInfo.InvariantCulture, $"## {workload.Key}: {workload.Title}");
        text.AppendLine();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"Data: {workload.Data}.{(workload.Contractions.Length > 0 ? $" Contractions: {workload.Contractions}." : string.Empty)}"
        );
        text.AppendLine();
        text.Append(Timings(workload));
        if (workload.Timings.Any(timing => timing.Name == Measurement.AllPairs))
        {
            text.AppendLine();
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"Other tools, all pairs over all parameters, in plain epochs of theirs: "
                    + $"{string.Join(", ", workload.Others.Select(o => $"{o.Tool} {Number(o.PlainEpochs)}"))}."
            );
        }

        if (workload.Influence.Count > 0)
        {
            text.AppendLine();
            text.AppendLine("Influence functions (labels sampled, default damping; all pairs within the default tolerance unless exact):");
            text.AppendLine();
            text.Append(Influence(workload));
        }

        text.AppendLine();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"Floor: multiply-adds counted from the shapes, in seconds at {workload.MatmulRate / 1e9:F0} G/s (large float32 matrix "
                + $"products in between, the fastest round, as the measured seconds are)."
        );
        text.AppendLine();
        text.Append(Floors(workload));
        if (workload.Parts.Count > 0)
        {
            text.AppendLine();
            text.AppendLine("Where the time of TracIn goes:");
            text.AppendLine();
            text.Append(Parts(workload));
        }

        foreach (var timing in workload.Timings.Where(timing => timing.Note.Length > 0))
        {
            text.AppendLine();
            text.AppendLine(CultureInfo.InvariantCulture, $"{timing.Name}: {timing.Note}");
        }

        return text.ToString();
    }

    /// <summary>One row for each workload in a table for each method.</summary>
    public static string Summary(IReadOnlyList<WorkloadReport> workloads)
    {
        var text = new StringBuilder("## Summary\n");
        if (workloads.Any(workload => workload.Timings.Any(timing => timing.Name == Measurement.AllPairs)))
        {
            text.Append('\n').Append(TracInSummary(workloads));
        }

        if (workloads.Any(workload => workload.Influence.Count > 0))
        {
            text.Append('\n').Append(InfluenceSummary(workloads));
        }

        return text.ToString();
    }

    private static TextTable TracInSummary(IEnumerable<WorkloadReport> workloads)
    {
        var table = new TextTable(
            "in plain epochs (of minima)",
            "plain epoch s",
            "all pairs",
            "aim",
            "best other tool",
            "self-influence",
            "aim",
            "naive loop",
            "peak MiB"
        );
        foreach (var workload in workloads)
        {
            var timings = workload.Timings.ToDictionary(timing => timing.Name);
            var (plain, pairs) = (timings[Measurement.PlainEpoch], timings[Measurement.AllPairs]);
            var (self, naive) = (timings[Measurement.SelfInfluence], timings[Measurement.Naive]);
            table.Add(
                workload.Key,
                Number(plain.Min),
                Number(pairs.PlainEpochsOfMinima),
                Number(pairs.Aim),
                Number(workload.Others.Min(o => o.PlainEpochs)),
                Number(self.PlainEpochsOfMinima),
                Number(self.Aim),
                Number(naive.PlainEpochsOfMinima),
                Whole(pairs.PeakMiB)
            );
        }

        return table;
    }

    private static TextTable InfluenceSummary(IEnumerable<WorkloadReport> workloads)
    {
        var table = new TextTable(
            "in plain epochs (of minima)",
            "fit",
            "all pairs",
            "together",
            "aim",
            "best other tool",
            "peak MiB",
            "aim",
            "all pairs, exact",
            "self-influence"
        );
        foreach (var workload in workloads)
        {
            var timings = workload.Influence.ToDictionary(timing => timing.Name);
            Add("K-FAC", Measurement.KfacFit, Measurement.KfacPairs, Measurement.KfacFitAndPairs, null, null);
            Add(
                "EK-FAC",
                Measurement.EkfacFit,
                Measurement.EkfacPairs,
                Measurement.EkfacFitAndPairs,
                timings[Measurement.EkfacExact],
                timings[Measurement.EkfacSelf]
            );

            void Add(string method, string fit, string pairs, string both, Timing? exact, Timing? self)
            {
                var sum = timings[both];
                table.Add(
                    $"{workload.Key}, {method}",
                    Number(timings[fit].PlainEpochsOfMinima),
                    Number(timings[pairs].PlainEpochsOfMinima),
                    Number(sum.PlainEpochsOfMinima),
                    Number(sum.Aim),
                    Number(sum.BestOther),
                    Whole(sum.PeakMiB),
                    Whole(sum.AimPeakMiB),
                    Number(exact?.PlainEpochsOfMinima),
                    Number(self?.PlainEpochsOfMinima)
                );
            }
        }

        return table;
    }

    private static TextTable Timings(WorkloadReport workload)
    {
        var gpu = workload.Timings.Any(timing => timing.PeakGpuMiB is not null);
        var table = new TextTable([
            "",
            "s",
            "min",
            "max",
            "runs",
            "plain epochs",
            "of minima",
            "aim",
            "peak MiB",
            .. gpu ? ["GPU MiB"] : Array.Empty<string>(),
        ]);
        foreach (var t in workload.Timings)
        {
            table.Add([
                t.Name,
                Number(t.Seconds),
                Number(t.Min),
                Number(t.Max),
                t.Runs.ToString(CultureInfo.InvariantCulture),
                Number(t.PlainEpochs),
                Number(t.PlainEpochsOfMinima),
                Number(t.Aim),
                Whole(t.PeakMiB),
                .. gpu ? [Whole(t.PeakGpuMiB)] : Array.Empty<string>(),
            ]);
        }

        return table;
    }

    private static TextTable Influence(WorkloadReport workload)
    {
        var gpu = workload.Influence.Any(timing => timing.PeakGpuMiB is not null);
        var table = new TextTable([
            "",
            "s",
            "min",
            "max",
            "runs",
            "plain epochs",
            "of minima",
            "aim",
            "best other tool",
            "peak MiB",
            "aim MiB",
            .. gpu ? ["GPU MiB"] : Array.Empty<string>(),
        ]);
        foreach (var t in workload.Influence)
        {
            table.Add([
                t.Name,
                Number(t.Seconds),
                Number(t.Min),
                Number(t.Max),
                t.Runs.ToString(CultureInfo.InvariantCulture),
                Number(t.PlainEpochs),
                Number(t.PlainEpochsOfMinima),
                Number(t.Aim),
                Number(t.BestOther),
                Whole(t.PeakMiB),
                Whole(t.AimPeakMiB),
                .. gpu ? [Whole(t.PeakGpuMiB)] : Array.Empty<string>(),
            ]);
        }

        return table;
    }

    private static TextTable Floors(WorkloadReport workload)
    {
        var table = new TextTable("", "G multiply-adds", "floor s", "plain epochs by count", "measured s", "measured / floor");
        foreach (var floor in workload.Floors)
        {
            table.Add(
                floor.Name,
                Number(floor.GigaMultiplyAdds),
                Number(floor.Seconds),
                Number(floor.PlainEpochsByCount),
                Number(floor.Measured),
                Number(floor.Measured / floor.Seconds)
            );
            if (floor.Parts.Count > 1)
            {
                foreach (var (name, multiplyAdds) in floor.Parts)
                {
                    table.Add(
                        $"- {name}",
                        Number(multiplyAdds),
                        Number(floor.Seconds * multiplyAdds / floor.GigaMultiplyAdds),
                        Number(floor.PlainEpochsByCount * multiplyAdds / floor.GigaMultiplyAdds),
                        string.Empty,
                        string.Empty
                    );
                }
            }
        }

        return table;
    }

    private static TextTable Parts(WorkloadReport workload)
    {
        var table = new TextTable("", "s", "min", "plain epochs");
        foreach (var part in workload.Parts)
        {
            table.Add($"{part.Computation}: {part.Name}", Number(part.Seconds), Number(part.Min), Number(part.PlainEpochs));
        }

        return table;
    }

    /// <summary>Three significant digits, whatever the size.</summary>
    private static string Number(double? value) =>
        value switch
        {
            null => string.Empty,
            0 => "0",
            >= 100 or <= -100 => value.Value.ToString("F0", CultureInfo.InvariantCulture),
            _ => value.Value.ToString(
                $"F{Math.Clamp(2 - (int)Math.Floor(Math.Log10(Math.Abs(value.Value))), 0, 6)}",
                CultureInfo.InvariantCulture
            ),
        };

    private static string Whole(double? value) => value?.ToString("F0", CultureInfo.InvariantCulture) ?? string.Empty;
}
