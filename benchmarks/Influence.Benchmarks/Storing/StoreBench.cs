using System.Globalization;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Workloads;
using Influence.Stores;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Storing;

/// <summary>What a gradient store takes to write, beside a plain epoch, and to scan, beside a plain sum over the same bytes.</summary>
internal static class StoreBench
{
    private static readonly ScalarType[] s_types = [ScalarType.Float32, ScalarType.Float16, ScalarType.Int8];
    private static readonly int[] s_queries = [1, 4, 32];

    public static int Run(Options options, Device device)
    {
        var rounds = options.Quick ? new Interleaved(5, TimeSpan.FromSeconds(20)) : new Interleaved(15, TimeSpan.FromSeconds(120));
        using var workload = WorkloadCatalog.Create("mlp", device, options.Quick);
        var folder = Directory.CreateTempSubdirectory("influence-store-bench");
        try
        {
            var stores = s_types.ToDictionary(type => type, type => Write(workload, type, Path.Combine(folder.FullName, $"{type}")));
            using var sums = new ByteSums(stores);
            List<Work> works =
            [
                Work.Always(() => [(Measurement.PlainEpoch, new DeviceClock(device).Time(workload.PlainEpoch))]),
                Work.Always(() => [(Names.Disk, sums.WriteToDisk(Path.Combine(folder.FullName, "plain"), stores[ScalarType.Float32]))]),
                .. s_types.Select(type =>
                    Work.Always(() => [(Names.Writing(type), Timed(() => Write(workload, type, Fresh(folder, type))))])
                ),
                .. s_types.Select(type => Work.Always(() => [(Names.Sum(type), Timed(() => sums.Sum(type)))])),
                .. s_types.SelectMany(type =>
                    s_queries.Select(q => Work.Always(() => [(Names.Scan(type, q), Timed(() => sums.Scan(type, q)))]))
                ),
            ];
            Interleaved.Quick.Run(works, _ => { });
            var samples = rounds.Run(works, _ => { });
            var about = string.Create(
                CultureInfo.InvariantCulture,
                $"""
                {workload.Title}; two-sided, 64 a side, {stores[
                    ScalarType.Float32
                ].Width:N0} numbers an example. All works run in turn, round by round; seconds are the fastest
                round's, which other work on the machine disturbs least, and ratios are of these. A store is written to a disk, flushed and hashed; "plain bytes" writes and flushes a float32 store's bytes alone.
                A scan maps every shard anew and gives all products of so many queries; the plain sum adds the same mapped bytes as 64-bit numbers, on as many threads.
                """
            );
            new MarkdownPage(options, device).Write("store", "Gradient store", about, Table(stores, samples).ToString());
            return 0;
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static GradientStore Write(Workload workload, ScalarType type, string folder) =>
        GradientStore.Write(workload.Task, workload.TrainExamples, new GradientProjection { Dtype = type }, folder);

    private static string Fresh(DirectoryInfo folder, ScalarType type)
    {
        var path = Path.Combine(folder.FullName, $"new-{type}");
        if (Directory.Exists(path))
        {
            Directory.Delete(path, recursive: true);
        }

        return path;
    }

    private static double Timed(Action work)
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        work();
        return clock.Elapsed.TotalSeconds;
    }

    private static TextTable Table(Dictionary<ScalarType, GradientStore> stores, Dictionary<string, Samples> samples)
    {
        var plain = samples[Measurement.PlainEpoch].Min;
        var table = new TextTable("work", "MB", "s, fastest", "s, median", "in plain epochs", "in plain sums", "GB/s", "rounds");
        Add(Measurement.PlainEpoch, null, null);
        Add(Names.Disk, ScalarType.Float32, null);
        foreach (var type in s_types)
        {
            Add(Names.Writing(type), type, null);
        }

        foreach (var type in s_types)
        {
            Add(Names.Sum(type), type, samples[Names.Sum(type)].Min);
            foreach (var q in s_queries)
            {
                Add(Names.Scan(type, q), type, samples[Names.Sum(type)].Min);
            }
        }

        return table;

        void Add(string name, ScalarType? type, double? sum)
        {
            var (own, bytes) = (samples[name], type is { } t ? ByteSums.BytesOf(stores[t]) : 0);
            table.Add(
                name,
                type is null ? string.Empty : Number(bytes / 1e6, "F0"),
                Number(own.Min, "F4"),
                Number(own.Median, "F4"),
                Number(own.Min / plain, "F1"),
                sum is { } s ? Number(own.Min / s, "F2") : string.Empty,
                type is null ? string.Empty : Number(bytes / own.Min / 1e9, "F1"),
                own.Runs.ToString(CultureInfo.InvariantCulture)
            );
        }

        static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
    }

    private static class Names
    {
        public const string Disk = "plain bytes to the disk";

        public static string Writing(ScalarType type) => $"write, {type}";

        public static string Sum(ScalarType type) => $"plain sum, {type}";

        public static string Scan(ScalarType type, int queries) => $"scan of {queries} {(queries == 1 ? "query" : "queries")}, {type}";
    }
}
