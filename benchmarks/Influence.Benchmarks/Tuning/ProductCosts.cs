using System.Globalization;
using System.Text;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Reporting;
using Influence.Benchmarks.Workloads;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Tuning;

/// <summary>All pairs with products in bfloat16 beside those in float32: processor time of one thread, and how far scores move.</summary>
internal static class ProductCosts
{
    private const int Epochs = 3;

    public static int Run(Options options, Device device)
    {
        set_num_threads(1);
        var page = new MarkdownPage(options, device);
        var text = new StringBuilder();
        foreach (var name in options.Workloads)
        {
            using var workload = WorkloadCatalog.Create(name, device, options.Quick);
            ThreadWork.Train(workload, Epochs);
            text.AppendLine(
                CultureInfo.InvariantCulture,
                $"## {workload.Title}, {workload.DataNote}, {workload.TrainCount} training examples, {workload.QueryCount} queries"
            );
            text.AppendLine().Append(Table(workload, options.Quick)).AppendLine();
        }

        const string About = """
            Processor time of one thread, the fastest run; one plain epoch is a forward pass, mean loss and backward pass over the training
            examples. Models after three epochs of SGD; labels are sampled, the damping is the default. Errors are those of scores in
            bfloat16 against scores in float32, as shares of sqrt(s(q,q) s(z,z)), the largest that the score could be (of the
            influence functions with K-FAC's and EK-FAC's own curvature), and the rank correlation is the mean over queries.
            """;
        page.Write("products", "Products of gradients in bfloat16", About, text.ToString());
        return 0;
    }

    private static TextTable Table(Workload workload, bool quick)
    {
        using var kfac = Kfac.Fit(workload.Task, workload.TrainExamples);
        using var ekfac = Ekfac.Fit(workload.Task, workload.TrainExamples);
        (string Name, IPairEstimator Own, IPairEstimator Rounded, Func<Examples, ExampleScores> Self)[] calls =
        [
            (
                "TracIn",
                new TracIn(),
                new TracIn { ProductType = ScalarType.BFloat16 },
                examples => new TracIn().SelfInfluence(workload.Task, examples)
            ),
            Of("K-FAC", new InfluenceFunction(kfac)),
            Of("EK-FAC", new InfluenceFunction(ekfac)),
            Of("EK-FAC, exact", new InfluenceFunction(ekfac) { Tolerance = 0 }),
        ];
        var works = calls.SelectMany(call =>
            new[] { ThreadWork.Timed(call.Name, () => Score(call.Own)), ThreadWork.Timed(In16(call.Name), () => Score(call.Rounded)) }
        );
        var samples = ThreadWork.Compare(workload, works, quick);
        var plain = samples[ThreadWork.Plain].Min;
        var table = new TextTable([
            "all pairs",
            "float32, plain epochs",
            "bfloat16, plain epochs",
            "ratio",
            "error, most",
            "error, rms",
            "ranks",
        ]);
        foreach (var (name, own, rounded, self) in calls)
        {
            var (most, rms, ranks) = Errors(workload, own, rounded, self);
            var (before, after) = (samples[name].Min / plain, samples[In16(name)].Min / plain);
            table.Add([
                name,
                ThreadWork.Number(before),
                ThreadWork.Number(after),
                ThreadWork.Number(after / before),
                ThreadWork.Number(most),
                ThreadWork.Number(rms),
                ranks.ToString("F6", CultureInfo.InvariantCulture),
            ]);
        }

        return table;

        (string, IPairEstimator, IPairEstimator, Func<Examples, ExampleScores>) Of(string name, InfluenceFunction own) =>
            (name, own, own with { ProductType = ScalarType.BFloat16 }, examples => own.SelfInfluence(workload.Task, examples));

        void Score(IPairEstimator estimator) => estimator.Score(workload.Task, workload.TrainExamples, workload.QueryExamples).Dispose();

        static string In16(string name) => $"{name}, bfloat16";
    }

    private static (double Most, double Rms, double Ranks) Errors(
        Workload workload,
        IPairEstimator own,
        IPairEstimator rounded,
        Func<Examples, ExampleScores> self
    )
    {
        using var scope = NewDisposeScope();
        using var expected = own.Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
        using var found = rounded.Score(workload.Task, workload.TrainExamples, workload.QueryExamples);
        var squares = Self(workload.QueryExamples).unsqueeze(1) * Self(workload.TrainExamples).unsqueeze(0); // [Q, N]
        var errors = (found.Values - expected.Values).abs().to_type(ScalarType.Float64) / squares.sqrt();
        var ranks = new RankAgreement().Evaluate(expected, found).Mean.Value;
        return (errors.max().item<double>(), errors.mul(errors).mean().sqrt().item<double>(), ranks);

        Tensor Self(Examples examples) => tensor(self(examples).Values.ToArray());
    }
}
