using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Tuning;
using Influence.Benchmarks.Workloads;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Stores;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Scaling;

/// <summary>
/// What a second process over the same folder brings: the same fit, scores and store by one process of one thread, and by two of one thread
/// each.
/// </summary>
internal static class RanksBench
{
    /// <summary>The command of a process.</summary>
    public const string Verb = "rank";

    private const string Go = "go";
    private static readonly int[] s_counts = [1, 2];
    private static readonly string[] s_stages = ["EK-FAC fit", "scores", "store"];

    public static int Run(Options options, Device device)
    {
        var root = Directory.CreateTempSubdirectory("influence-ranks");
        try
        {
            var rounds = options.Quick ? 1 : 2;
            var times = s_counts.ToDictionary(count => count, _ => new List<Round>());
            for (var round = 0; round < rounds; round++)
            {
                foreach (var count in s_counts)
                {
                    Console.Error.WriteLine($"Round {round + 1} of {rounds}: {count} process{(count > 1 ? "es" : string.Empty)}");
                    times[count].Add(Together(count, options, Path.Combine(root.FullName, $"{count}-{round}")));
                }
            }

            var alike = times.Values.SelectMany(found => found).Select(found => found.Result).Distinct().Count() == 1;
            var about = $"""
                The decoder of `bench` (4 layers of width 128 over 128 bytes; 600 training examples and 20 queries; 100 if quick), over one
                folder (`Work`): an EK-FAC fit, scores of its queries, and a gradient store of 16 a side. One process with one thread,
                beside two with one thread each; all begin at a sign once their models and data are there. Seconds by the clock from that
                sign to the end of the slowest process, the fastest of {rounds} rounds that ran in turn; processor seconds are those of
                all processes together in that round.
                The numbers of the fit and of the scores of all processes were {(alike ? "equal, byte for byte" : "NOT equal")}.
                """;
            new MarkdownPage(options, device).Write("ranks", "Several processes over one folder", about, Table(times));
            return alike ? 0 : 1;
        }
        finally
        {
            root.Delete(recursive: true);
        }
    }

    /// <summary>The command of one process.</summary>
    public static Command Command()
    {
        var (rank, count, folder, quick) = (
            new Argument<int>("rank"),
            new Argument<int>("count"),
            new Argument<string>("folder"),
            new Option<bool>("--quick")
        );
        var command = new Command(Verb) { rank, count, folder, quick };
        command.Hidden = true;
        command.SetAction(given =>
            RunChild(given.GetRequiredValue(rank), given.GetRequiredValue(count), given.GetRequiredValue(folder), given.GetValue(quick))
        );
        return command;
    }

    private static Round Together(int count, Options options, string folder)
    {
        Directory.CreateDirectory(folder);
        var ranks = Enumerable
            .Range(0, count)
            .Select(rank =>
                Task.Run(() =>
                    ChildProcess.Run(
                        [
                            Verb,
                            rank.ToString(CultureInfo.InvariantCulture),
                            count.ToString(CultureInfo.InvariantCulture),
                            folder,
                            .. options.Quick ? ["--quick"] : Array.Empty<string>(),
                        ],
                        $"process {rank} of {count}",
                        new Setting(
                            "one thread",
                            new Dictionary<string, string> { ["OMP_NUM_THREADS"] = "1", ["OMP_WAIT_POLICY"] = "passive" }
                        )
                    )
                )
            )
            .ToArray();
        while (!Enumerable.Range(0, count).All(rank => File.Exists(Ready(folder, rank))))
        {
            if (ranks.FirstOrDefault(rank => rank.IsCompleted) is { } ended)
            {
                ended.GetAwaiter().GetResult();
                throw new BenchmarkException("A process ended before it began.");
            }

            Thread.Sleep(50);
        }

        File.WriteAllText(Path.Combine(folder, Go), string.Empty);
        Task.WaitAll(ranks);
        var rows = ranks.Select(rank => rank.Result.Trim().Split(' ')).ToList();
        double[] ends = [.. s_stages.Select((_, k) => rows.Max(row => double.Parse(row[k], CultureInfo.InvariantCulture)))];
        return new Round(
            [.. ends.Select((end, k) => end - (k == 0 ? 0 : ends[k - 1]))],
            rows.Sum(row => double.Parse(row[^2], CultureInfo.InvariantCulture)),
            rows.Select(row => row[^1]).Distinct().Count() == 1 ? rows[0][^1] : $"not equal in {folder}"
        );
    }

    private static int RunChild(int rank, int count, string folder, bool quick)
    {
        set_num_threads(1);
        using var workload = WorkloadCatalog.Create("decoder", new WorkloadSize(quick ? 100 : 600, 20), ScalarType.Float32, CPU);
        var work = new Distributed.Work(Path.Combine(folder, "work")) { Rank = rank, Count = count };
        File.WriteAllText(Ready(folder, rank), string.Empty);
        while (!File.Exists(Path.Combine(folder, Go)))
        {
            Thread.Sleep(5);
        }

        var (clock, processor) = (Stopwatch.StartNew(), Environment.CpuUsage.TotalTime);
        using var fit = Ekfac.Fit(workload.Task, workload.TrainExamples, new Ekfac.Options { Work = work.In("fit") });
        var fitted = clock.Elapsed;
        using var scores = new InfluenceFunction(fit) { Work = work.In("scores") }.Score(
            workload.Task,
            workload.TrainExamples,
            workload.QueryExamples
        );
        var scored = clock.Elapsed;
        GradientStore.Write(
            workload.Task,
            workload.TrainExamples,
            new GradientProjection { Dimension = 16, Work = work.In("store-work") },
            Path.Combine(folder, "store")
        );
        var stored = clock.Elapsed;
        var spent = Environment.CpuUsage.TotalTime - processor;
        using var numbers = scores.Values.contiguous();
        var hash = Convert.ToHexStringLower(SHA256.HashData(numbers.bytes));
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{fitted.TotalSeconds:R} {scored.TotalSeconds:R} {stored.TotalSeconds:R} {spent.TotalSeconds:R} {hash}"
            )
        );
        return 0;
    }

    private static string Ready(string folder, int rank) => Path.Combine(folder, FormattableString.Invariant($"ready-{rank}"));

    private static string Table(Dictionary<int, List<Round>> times)
    {
        var table = new TextTable(["processes", .. s_stages, "all", "speed-up", "processor s"]);
        var one = times[1].Min(round => round.Seconds.Sum());
        foreach (var (count, rounds) in times)
        {
            var best = rounds.MinBy(round => round.Seconds.Sum())!;
            table.Add([
                count.ToString(CultureInfo.InvariantCulture),
                .. best.Seconds.Select(Number),
                Number(best.Seconds.Sum()),
                (one / best.Seconds.Sum()).ToString("F2", CultureInfo.InvariantCulture),
                Number(best.Processor),
            ]);
        }

        return table.ToString();

        static string Number(double seconds) => seconds.ToString("F1", CultureInfo.InvariantCulture);
    }

    private sealed record Round(double[] Seconds, double Processor, string Result);
}
