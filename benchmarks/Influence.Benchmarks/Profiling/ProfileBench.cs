using System.Globalization;
using System.Text;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Recording;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Workloads;
using Influence.Estimators;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Profiling;

/// <summary>
/// Where the time of calls goes, stage by stage, beside the same operations alone in libtorch at the same sizes, and beside what the
/// machine reaches in the same run.
/// </summary>
internal static class ProfileBench
{
    private const string PairsAgain = "all pairs, the same call again";
    private const string SelfAgain = "self-influence, the same call again";

    public static int Run(Options options, Device device)
    {
        // One thread, whose processor time is told apart from other load.
        set_num_threads(1);
        var page = new MarkdownPage(options, device);
        var text = new StringBuilder();
        foreach (var name in options.Workloads)
        {
            Console.Error.WriteLine(name);
            using var workload = WorkloadCatalog.Create(name, device, options.Quick);
            text.AppendLine(CultureInfo.InvariantCulture, $"## {workload.Title}").AppendLine();
            text.Append(MachineRates.Table(workload)).AppendLine();
            text.Append(OfCalls(workload, device, options.Quick));
            text.Append(OfSteps(name, workload, device, options.Quick)).AppendLine();
        }

        const string About = """
            Milliseconds of processor time on one thread, which other load on the machine does not stretch; of each call the fastest of
            rounds that took turns. A moment belongs to the innermost stage. "MB" are the tensors that a stage makes or copies. "Bare" is
            the same operation alone in libtorch at the same sizes, as often: forward and backward passes to the layers' outputs, matrix
            products, copies. The share is of the whole call, and its time in plain epochs (or plain steps) stands above each table.
            """;
        page.Write("profile", "Where the time goes", About, text.ToString());
        return 0;
    }

    private static string OfCalls(Workload workload, Device device, bool quick)
    {
        var task = workload.Task;
        var (train, queries) = (workload.TrainExamples, workload.QueryExamples);
        List<ProfiledCall> calls =
        [
            new(Measurement.PlainEpoch, workload.PlainEpoch),
            new(Measurement.AllPairs, () => Measurement.Run(Measurement.AllPairs, workload, device)),
            new(PairsAgain, () => new TracIn().Score(task, train, queries).Dispose()),
            new(Measurement.SelfInfluence, () => Measurement.Run(Measurement.SelfInfluence, workload, device)),
            new(SelfAgain, () => new TracIn().SelfInfluence(task, train)),
            new(Measurement.Groups, () => Measurement.Run(Measurement.Groups, workload, device)),
            new(Measurement.GroupsWithoutErrors, () => Measurement.Run(Measurement.GroupsWithoutErrors, workload, device)),
        ];
        return Report(calls, workload, quick, 1, "plain epochs");
    }

    private static string OfSteps(string name, Workload workload, Device device, bool quick)
    {
        using var steps = new RecordedSteps(name, device);
        string[] names =
        [
            RecordedSteps.Plain,
            RecordedSteps.InPlace,
            RecordedSteps.Norms,
            RecordedSteps.FirstOrder,
            RecordedSteps.SecondOrder,
            RecordedSteps.Selection,
        ];
        List<ProfiledCall> calls = [.. names.Select(step => new ProfiledCall(step, () => steps.Run(step)))];
        return Report(calls, workload, quick, steps.Count, $"plain steps ({steps.Count} steps were timed, the table is of one)");
    }

    /// <summary>Runs the calls in turn, the first of them plain, and writes a table of each other.</summary>
    private static string Report(List<ProfiledCall> calls, Workload workload, bool quick, int times, string unit)
    {
        var rounds = new Interleaved(quick ? 3 : 40, TimeSpan.FromSeconds(quick ? 5 : 60));
        rounds.Run([.. calls.Select(call => Work.Always(call.Run))], _ => { });
        var (text, bare) = (new StringBuilder(), new BareOperations(workload));
        var plain = calls[0].Fastest;
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"{calls[0].Name}: {Milliseconds(plain / times)} ms, the fastest of {calls[0].Rounds} rounds."
        );
        text.AppendLine();
        foreach (var call in calls.Skip(1))
        {
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"### {call.Name}: {Milliseconds(call.Fastest / times)} ms, {call.Fastest / plain:F2} {unit}"
            );
            text.AppendLine().Append(StageTable.Of(call.Stages!, bare, times)).AppendLine();
        }

        return text.ToString();
    }

    private static string Milliseconds(double seconds) => (seconds * 1000).ToString("F2", CultureInfo.InvariantCulture);
}
