using Influence.Benchmarks.Floors;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Workloads;
using static TorchSharp.torch;

namespace Influence.Benchmarks;

/// <summary>All measurements of one workload.</summary>
internal sealed class WorkloadBench(Workload workload, Options options, Device device)
{
    private readonly DeviceClock _clock = new(device);

    public WorkloadReport Run()
    {
        var parts = new PairsInParts(workload, _clock);
        using var matmul = new MatmulRate(device);
        var naive = NaiveLoop.For(workload, _clock);
        var samples = (options.Quick ? Interleaved.Quick : Interleaved.Full).Run(
            [
                () => [(Measurement.Matmul, _clock.Time(matmul.Run))],
                Measurement.Timed(Measurement.PlainEpoch, workload, _clock),
                Measurement.Timed(Measurement.AllPairs, workload, _clock),
                Measurement.Timed(Measurement.SelfInfluence, workload, _clock),
                Measurement.Timed(Measurement.ForwardOnly, workload, _clock),
                parts.Run,
                () => [(Measurement.Naive, naive.Measure())],
            ],
            round => Note($"{workload.Key}: {(round == 0 ? "warming up" : $"round {round}")}"));
        Note($"{workload.Key}: memory");
        var memory = Measurement.WithMemory.ToDictionary(name => name, name => PeakMemory.Measure(workload.Key, name, options.Device));
        Note(string.Empty);

        var rate = matmul.MultiplyAdds / samples[Measurement.Matmul].Min;
        return new WorkloadReport(
            workload.Key, workload.Title, workload.DataNote, parts.Plan, rate, Timings(samples, memory, naive), Floors(samples, rate), Parts(samples),
            [.. workload.Reference.PairsOfOthers.Select(other => new OtherTool(other.Tool, other.Ratio))]);
    }

    private List<Timing> Timings(Dictionary<string, Samples> samples, Dictionary<string, PeakMemory> memory, NaiveLoop naive)
    {
        var plain = samples[Measurement.PlainEpoch];
        return
        [
            Row(Measurement.PlainEpoch, null),
            Row(Measurement.AllPairs, workload.Reference.PairsAim),
            Row(Measurement.SelfInfluence, workload.Reference.SelfAim),
            Row(Measurement.Naive, null,
                $"all pairs by a loop over single examples, measured on {naive.TrainSlice} training examples and {naive.QuerySlice} queries and scaled to all."),
        ];

        Timing Row(string name, double? aim, string note = "")
        {
            var own = samples[name];
            var peak = memory.GetValueOrDefault(name);
            return new Timing(
                name, own.Median, own.Min, own.Max, own.Runs, own.Median / plain.Median, own.Min / plain.Min, aim, peak?.Host, peak?.Gpu, note);
        }
    }

    private List<FloorReport> Floors(Dictionary<string, Samples> samples, double rate)
    {
        var plain = Floor.PlainEpoch(workload.Shape, workload.TrainCount);
        return
        [
            .. new[]
            {
                (Measurement.PlainEpoch, plain),
                (Measurement.AllPairs, Floor.AllPairs(workload.Shape, workload.TrainCount, workload.QueryCount)),
                (Measurement.SelfInfluence, Floor.SelfInfluence(workload.Shape, workload.TrainCount)),
            }.Select(pair => new FloorReport(
                pair.Item1, pair.Item2.MultiplyAdds / 1e9, pair.Item2.MultiplyAdds / rate, pair.Item2.MultiplyAdds / plain.MultiplyAdds,
                samples[pair.Item1].Min, pair.Item2.Parts.ToDictionary(part => part.Name, part => part.MultiplyAdds / 1e9))),
        ];
    }

    private static List<PartReport> Parts(Dictionary<string, Samples> samples)
    {
        var plain = samples[Measurement.PlainEpoch];
        string[] ofPairs = [Part.Audit, Part.CaptureQueries, Part.KeepQueries, Part.CaptureTrain, Part.Products];
        return
        [
            Row(Measurement.PlainEpoch, Measurement.ForwardOnly),
            .. ofPairs.Select(name => Row(Measurement.AllPairs, name)),
            Rest(Measurement.AllPairs, ofPairs, "the rest (reading batches, checks, copies)"),
            Row(Measurement.SelfInfluence, Part.CaptureTrain),
            Rest(Measurement.SelfInfluence, [Part.CaptureTrain], "norms and the rest"),
        ];

        PartReport Row(string computation, string name) =>
            new(computation, name, samples[name].Median, samples[name].Min, samples[name].Median / plain.Median);

        PartReport Rest(string computation, string[] parts, string name)
        {
            var median = samples[computation].Median - parts.Sum(part => samples[part].Median);
            var min = samples[computation].Min - parts.Sum(part => samples[part].Min);
            return new PartReport(computation, name, median, min, median / plain.Median);
        }
    }

    private static void Note(string text)
    {
        if (!Console.IsErrorRedirected)
        {
            Console.Error.Write($"\r\e[K{text}");
        }
    }
}
