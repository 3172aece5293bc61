using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Quality.Parts;
using Influence.Quality.Reporting;
using Influence.Stores;

namespace Influence.Quality.Pretrained;

/// <summary>What the library says beforehand that a call takes, beside what it then takes.</summary>
internal static class EstimateStudy
{
    private const string About =
        "Seconds of the processor on one thread: of what Estimate says, of the call after it, and of the estimate itself; a machine that "
        + "others use stretches them far less than the clock's. Memory: of the fit, as estimated at most, and as the process grew.";

    private static readonly string[] s_head = ["call", "estimated", "spent", "spent / estimated", "the estimate took", "MiB", "MiB grown"];

    /// <param name="context">The part's.</param>
    /// <param name="tuned">The model, which is disposed.</param>
    public static Findings Run(PartContext context, FineTuned tuned)
    {
        using (tuned)
        {
            return Findings.Of(
                new Dictionary<string, string> { [tuned.Name] = tuned.Facts },
                new NamedTable(tuned.Name, About, [s_head, .. Rows(context, tuned)])
            );
        }
    }

    private static List<IReadOnlyList<string>> Rows(PartContext context, FineTuned tuned)
    {
        var (task, train, queries, rows) = (tuned.Task, tuned.Train, tuned.Queries, new List<IReadOnlyList<string>>());
        var cost = CurvatureCostOf();
        var before = Memory.ResetPeak();
        Ekfac? made = null;
        Add("EK-FAC fit", cost.Estimate.Processor, cost.Took, Processor(() => made = Ekfac.Fit(task, train, tuned.Curvature)));
        rows[0] = [.. rows[0].SkipLast(2), $"{cost.Estimate.PeakBytes >> 20:N0}", $"{(Memory.Peak() - before) >> 20:N0}"];
        using var fit = made!;
        var influence = new InfluenceFunction(fit);
        Call(
            $"EK-FAC, all pairs with {queries.Count} queries",
            () => influence.Estimate(task, train, queries).Processor,
            () => influence.Score(task, train, queries).Dispose()
        );
        Call(
            "EK-FAC, self-influence",
            () => influence.EstimateSelfInfluence(task, train).Processor,
            () => influence.SelfInfluence(task, train)
        );
        var tracIn = new TracIn { Checkpoints = tuned.Checkpoints };
        Call(
            $"TracIn, {tuned.Checkpoints.Count} checkpoints, all pairs with {queries.Count} queries",
            () => tracIn.Estimate(task, train, queries).Processor,
            () => tracIn.Score(task, train, queries).Dispose()
        );
        Call(
            $"TracIn, {tuned.Checkpoints.Count} checkpoints, self-influence",
            () => tracIn.EstimateSelfInfluence(task, train).Processor,
            () => tracIn.SelfInfluence(task, train)
        );
        var projection = new GradientProjection { Dimension = 16 };
        var folder = Directory.CreateTempSubdirectory("influence-estimates");
        try
        {
            Call(
                "gradient store, 16 dimensions a side",
                () => GradientStore.Estimate(task, train, projection).Processor,
                () => GradientStore.Write(task, train, projection, Path.Combine(folder.FullName, "store"))
            );
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        return rows;

        (CurvatureCost Estimate, double Took) CurvatureCostOf()
        {
            CurvatureCost? estimate = null;
            var took = Processor(() => estimate = Ekfac.Estimate(task, train, tuned.Curvature));
            return (estimate!, took);
        }

        void Call(string name, Func<TimeSpan?> estimate, Action call)
        {
            TimeSpan? said = null;
            var took = Processor(() => said = estimate());
            Add(name, said, took, Processor(call));
        }

        void Add(string name, TimeSpan? said, double took, double spent)
        {
            var estimated = said?.TotalSeconds ?? double.NaN;
            rows.Add([name, Number(estimated), Number(spent), Number(spent / estimated), Number(took), string.Empty, string.Empty]);
            context.Note($"{tuned.Name}, {name}: estimated {Number(estimated)}, spent {Number(spent)}, {Number(spent / estimated)}");
        }
    }

    private static double Processor(Action work)
    {
        GC.Collect();
        var before = Environment.CpuUsage.TotalTime;
        work();
        return (Environment.CpuUsage.TotalTime - before).TotalSeconds;
    }

    private static string Number(double value) => value.ToString("0.00", CultureInfo.InvariantCulture);
}
