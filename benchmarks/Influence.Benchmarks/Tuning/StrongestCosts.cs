using System.Globalization;
using System.Text;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Workloads;
using Influence.Curvature;
using Influence.Estimators;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Tuning;

/// <summary>
/// What the k strongest examples of each query cost with K-FAC and EK-FAC, beside all pairs, on weights as drawn and on trained ones:
/// how many examples a bound can exclude depends on how far the strongest stand out. Processor time of one thread.
/// </summary>
internal static class StrongestCosts
{
    private const int Epochs = 10;

    public static int Run(Options options, Device device)
    {
        set_num_threads(1);
        var page = new MarkdownPage(options, device);
        var text = new StringBuilder();
        using (var workload = WorkloadCatalog.Create("mlp", device, options.Quick))
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"## {workload.Title}, {workload.DataNote}");
            text.AppendLine().AppendLine("Weights as drawn:").AppendLine().Append(Table(workload, options.Quick));
            ThreadWork.Train(workload, Epochs);
            text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"After {Epochs} epochs of SGD:");
            text.AppendLine().Append(Table(workload, options.Quick));
        }

        const string About = """
            Seconds of processor time on one thread, the fastest run, which other load on the machine stretches less than a clock's;
            one plain epoch is a forward pass, mean loss and backward pass over the training examples. Labels are sampled, the damping
            is the default. All pairs are within the tolerance of 0.001 unless exact; the strongest are exact.
            """;
        page.Write("strongest", "The strongest examples of each query beside all pairs", About, text.ToString());
        return 0;
    }

    private static TextTable Table(Workload workload, bool quick)
    {
        using var kfac = Kfac.Fit(workload.Task, workload.TrainExamples);
        using var ekfac = Ekfac.Fit(workload.Task, workload.TrainExamples);
        var (train, queries) = (workload.TrainExamples, workload.QueryExamples);
        Work[] works =
        [
            ThreadWork.Timed("K-FAC all pairs", () => new InfluenceFunction(kfac).Score(workload.Task, train, queries).Dispose()),
            ThreadWork.Timed("K-FAC, the 100 strongest", () => new InfluenceFunction(kfac).Strongest(100, workload.Task, train, queries)),
            ThreadWork.Timed("K-FAC, the 10 strongest", () => new InfluenceFunction(kfac).Strongest(10, workload.Task, train, queries)),
            ThreadWork.Timed("EK-FAC, the 100 strongest", () => new InfluenceFunction(ekfac).Strongest(100, workload.Task, train, queries)),
            ThreadWork.Timed("EK-FAC, the 10 strongest", () => new InfluenceFunction(ekfac).Strongest(10, workload.Task, train, queries)),
            ThreadWork.Timed("EK-FAC all pairs", () => new InfluenceFunction(ekfac).Score(workload.Task, train, queries).Dispose()),
            ThreadWork.Timed(
                "EK-FAC all pairs, exact",
                () =>
                    new InfluenceFunction(ekfac) { Tolerance = 0 }
                        .Score(workload.Task, train, queries)
                        .Dispose()
            ),
        ];
        var samples = ThreadWork.Compare(workload, works, quick);
        var plain = samples[ThreadWork.Plain].Min;
        var table = new TextTable(["", "processor s", "plain epochs"]);
        foreach (var (name, own) in samples)
        {
            table.Add([name, ThreadWork.Number(own.Min), ThreadWork.Number(own.Min / plain)]);
        }

        return table;
    }
}
