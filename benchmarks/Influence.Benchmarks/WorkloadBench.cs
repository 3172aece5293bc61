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
    private readonly bool _tracIn = options.Methods.Contains(Options.TracIn);
    private readonly bool _influence = options.Methods.Contains(Options.Influence);
    private readonly bool _groups = options.Methods.Contains(Options.Groups);

    public WorkloadReport Run()
    {
        using var matmul = new MatmulRate(device);
        using var status = new StatusLine();
        status.Show($"{workload.Key}: warming up");
        WarmUp(matmul);
        var parts = new PairsInParts(workload, _clock);
        var naive = NaiveLoop.For(workload, _clock);
        using var influence = new InfluenceRun(workload, _clock);
        var samples = (options.Quick ? Interleaved.Quick : Interleaved.Full).Run(
            [.. Works(workload, matmul, parts, naive, influence)],
            round => status.Show($"{workload.Key}: round {round}")
        );
        status.Show($"{workload.Key}: memory");
        var memory = Measurement
            .WithMemory(options.Methods)
            .ToDictionary(name => name, name => PeakMemory.Measure(workload.Key, name, options));

        var rate = matmul.MultiplyAdds / samples[Measurement.Matmul].Min;
        var rows = new TimingRows(samples, memory);
        return new WorkloadReport(
            workload.Key,
            workload.Title,
            workload.DataNote,
            parts.Plan,
            rate,
            [.. rows.TracIn(workload.Reference, naive), .. rows.Groups()],
            _influence ? rows.Influence(workload.Reference) : [],
            Floors(samples, rate),
            _tracIn ? rows.Parts() : [],
            [.. workload.Reference.PairsOfOthers.Select(other => new OtherTool(other.Tool, other.Ratio))]
        );
    }

    /// <summary>Every piece of work once, on few examples.</summary>
    private void WarmUp(MatmulRate matmul)
    {
        using var small = WorkloadCatalog.CreateSmall(workload, device);
        using var influence = new InfluenceRun(small, _clock);
        Interleaved.Quick.Run(
            [.. Works(small, matmul, new PairsInParts(small, _clock), NaiveLoop.For(small, _clock), influence)],
            _ => { }
        );
    }

    private IEnumerable<Work> Works(Workload data, MatmulRate matmul, PairsInParts parts, NaiveLoop naive, InfluenceRun influence) =>
        [
            Work.Always(() => [(Measurement.Matmul, _clock.Time(matmul.Run))]),
            Measurement.Timed(Measurement.PlainEpoch, data, _clock),
            .. _tracIn
                ?
                [
                    Measurement.Timed(Measurement.AllPairs, data, _clock),
                    Measurement.Timed(Measurement.SelfInfluence, data, _clock),
                    Measurement.Timed(Measurement.ForwardOnly, data, _clock),
                    Work.Always(parts.Run),
                    Work.Always(() => [(Measurement.Naive, naive.Measure())]),
                ]
                : Array.Empty<Work>(),
            .. _groups
                ? [Measurement.Timed(Measurement.Groups, data, _clock), Measurement.Timed(Measurement.GroupsWithoutErrors, data, _clock)]
                : Array.Empty<Work>(),
            .. _influence ? influence.Works : [],
        ];

    private List<FloorReport> Floors(Dictionary<string, Samples> samples, double rate)
    {
        var (shape, train, queries) = (workload.Shape, workload.TrainCount, workload.QueryCount);
        var plain = Floor.PlainEpoch(shape, train);
        return
        [
            .. new[]
            {
                plain,
                Floor.AllPairs(shape, train, queries),
                Floor.SelfInfluence(shape, train),
                CurvatureFloor.KfacFit(shape, train),
                CurvatureFloor.AllPairs(Measurement.KfacPairs, shape, train, queries, exact: false),
                CurvatureFloor.EkfacFit(shape, train),
                CurvatureFloor.AllPairs(Measurement.EkfacPairs, shape, train, queries, exact: false),
                CurvatureFloor.AllPairs(Measurement.EkfacExact, shape, train, queries, exact: true),
                CurvatureFloor.SelfInfluence(shape, train),
            }
                .Where(floor => samples.ContainsKey(floor.Name))
                .Select(floor => new FloorReport(
                    floor.Name,
                    floor.MultiplyAdds / 1e9,
                    floor.MultiplyAdds / rate,
                    floor.MultiplyAdds / plain.MultiplyAdds,
                    samples[floor.Name].Min,
                    floor.Parts.ToDictionary(part => part.Name, part => part.MultiplyAdds / 1e9)
                )),
        ];
    }
}
