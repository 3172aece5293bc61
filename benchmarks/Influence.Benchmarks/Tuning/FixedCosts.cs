using System.Globalization;
using System.Text;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Workloads;
using Influence.Estimators;
using Influence.Gradients;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Tuning;

/// <summary>
/// What a call costs beyond its passes (session, audit, hooks, hashes of the weights), at few examples and at many, and what the checks of
/// every call cost: the same call with all that checks switched off. Everything is run in turn, and the fastest runs count.
/// </summary>
internal static class FixedCosts
{
    private const string Passes = "plain passes";
    private const string First = "first call";
    private const string Again = "again";
    private const string Unchecked = "again, no checks";
    private const string Opening = "opening a session";
    private const string Self = "self-influence";
    private const string SelfUnchecked = "self-influence, no checks";
    private const int Queries = 10;

    private static readonly long[] s_counts = [1, 100, 1000];

    public static int Run(Options options, Device device)
    {
        // One thread, whose processor time is told apart from other load.
        set_num_threads(1);
        var page = new MarkdownPage(options, device);
        var text = new StringBuilder();
        foreach (var name in options.Workloads)
        {
            using var workload = WorkloadCatalog.Create(name, device, options.Quick);
            text.AppendLine(CultureInfo.InvariantCulture, $"## {workload.Title}")
                .AppendLine()
                .Append(Table(workload, device, options.Quick))
                .AppendLine();
        }

        var about = string.Create(
            CultureInfo.InvariantCulture,
            $"""
            Milliseconds of processor time on one thread, the fastest of rounds that took turns. TracIn over N training examples and
            {Queries} queries, all parameters. "{Passes}" is a forward and a backward pass over the same examples with the gradients of all
            weights; the first call has a task that was never seen, the others the same task again.
            "no checks": without the checks of rows, of mixed losses and of in-place writes in every batch.
            """
        );
        page.Write("fixed", "Fixed costs of a call and the cost of its checks", about, text.ToString());
        return 0;
    }

    private static TextTable Table(Workload workload, Device device, bool quick)
    {
        var clock = new DeviceClock(device);
        var table = new TextTable([
            "N",
            Passes,
            First,
            Again,
            "beyond the passes",
            Opening,
            Unchecked,
            "checks",
            Self,
            SelfUnchecked,
            "checks",
        ]);
        foreach (var count in s_counts.Where(n => n <= workload.TrainCount))
        {
            var (x, y) = (workload.Train.X.narrow(0, 0, count), workload.Train.Y.narrow(0, 0, count));
            var queries = Math.Min(Queries, workload.QueryCount);
            var (qx, qy) = (workload.Queries.X.narrow(0, 0, queries), workload.Queries.Y.narrow(0, 0, queries));
            var train = Influence.Examples.FromTensors(("x", x), ("y", y)) with { BatchSize = workload.BatchSize };
            var asked = Influence.Examples.FromTensors(("x", qx), ("y", qy)) with { BatchSize = workload.BatchSize };
            var task = workload.Task;
            var without = task with { WithoutChecks = true };
            Work[] works =
            [
                Timed(
                    Passes,
                    () =>
                    {
                        Pass(workload, x, y);
                        Pass(workload, qx, qy);
                    }
                ),
                Timed(First, () => new TracIn().Score(NewTask(workload), train, asked).Dispose()),
                Timed(Again, () => new TracIn().Score(task, train, asked).Dispose()),
                Timed(Unchecked, () => new TracIn().Score(without, train, asked).Dispose()),
                Timed(Opening, () => GradientSession.Open(task, train, asked).Dispose()),
                Timed(Self, () => new TracIn().SelfInfluence(task, train)),
                Timed(SelfUnchecked, () => new TracIn().SelfInfluence(without, train)),
            ];
            var samples = new Interleaved(quick ? 12 : 200, TimeSpan.FromSeconds(quick ? 8 : 25)).Run(works, _ => { });
            double At(string name) => samples[name].Min * 1000;
            table.Add([
                Number(count),
                .. new[] { At(Passes), At(First), At(Again), At(Again) - At(Passes), At(Opening), At(Unchecked) }.Select(Number),
                Share(At(Again), At(Unchecked)),
                Number(At(Self)),
                Number(At(SelfUnchecked)),
                Share(At(Self), At(SelfUnchecked)),
            ]);
        }

        return table;

        Work Timed(string name, Action run) =>
            Work.Always(() => [(name, device.type == TorchSharp.DeviceType.CPU ? ThreadClock.Time(run) : clock.Time(run))]);
    }

    /// <summary>A delegate of its own, which no earlier call has seen.</summary>
    private static InfluenceTask NewTask(Workload workload) => (workload with { DataNote = string.Empty }).Task;

    private static void Pass(Workload workload, Tensor x, Tensor y)
    {
        for (long start = 0; start < x.shape[0]; start += workload.BatchSize)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(workload.BatchSize, x.shape[0] - start);
            workload.MeanLoss(x.narrow(0, start, count), y.narrow(0, start, count)).backward();
            workload.Model.zero_grad();
        }
    }

    private static string Number(long n) => n.ToString("N0", CultureInfo.InvariantCulture);

    private static string Number(double milliseconds) => milliseconds.ToString("F2", CultureInfo.InvariantCulture);

    private static string Share(double with, double without) => ((with / without) - 1).ToString("P1", CultureInfo.InvariantCulture);
}
