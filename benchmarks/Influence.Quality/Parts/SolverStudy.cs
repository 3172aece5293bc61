using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Parts;

/// <summary>
/// EK-FAC against what solves for the Gauss-Newton matrix itself around it, and against other factors: the same queries, the same dampings,
/// layer by layer. Every damping is reported; then, as in the other parts, held-out queries choose each method's. ASTRA is stopped after a
/// few, some and many steps, and is given the margin in place of the loss: neither may be what keeps it below EK-FAC.
/// </summary>
internal static class SolverStudy
{
    private const int OneHeldOutIn = 4;
    private const string Plain = "EK-FAC";
    private static readonly double[] s_factors = [1, 10, 0.1];

    /// <param name="context">Of the part.</param>
    /// <param name="trainings">Whose trainings these are.</param>
    /// <param name="setUp">The set-up.</param>
    /// <param name="oneQueryIn">Solvers cost many passes for each query: every so manieth is taken.</param>
    public static Findings Run(PartContext context, PartContext trainings, SetUp setUp, int oneQueryIn)
    {
        var study = new Study(trainings, setUp.Recipe, setUp.Data);
        var halves = study.Retrain("halves", Subsets.Half(setUp.Data.TrainIds, setUp.Halves, DeepStudy.SubsetSeed), setUp.Seeds);
        var run = study.Full(DeepStudy.FirstModelSeed);
        var (train, all) = (setUp.Data.Train(setUp.BatchSize), setUp.Data.Queries(setUp.BatchSize));
        var queries = all.Only(all.Ids.Where((_, i) => i % oneQueryIn == 0));
        long[] heldOut = [.. queries.Ids.Where((_, i) => i % OneHeldOutIn == 0)];
        long[] reported = [.. queries.Ids.Where((_, i) => i % OneHeldOutIn != 0)];
        var judge = new Judge(context, halves, all);
        using var model = run.AtTheEnd();
        var task = TrainedModel.Task(model);
        using var ekfac = Fit(trainings, study, task, train, setUp.Curvature);
        using var empirical = Fit(trainings, study, task, train, new() { Fisher = Fisher.Empirical });
        using var shampoo = Fit(trainings, study, task, train, setUp.Curvature with { Factors = Ekfac.FactorKind.Shampoo });
        var block = new BlockConjugateGradient.Options { Examples = context.Pick(1024, 128), MaximumIterations = 8 };
        int[] lengths = [setUp.Astra.Iterations / 4, setUp.Astra.Iterations, 2 * setUp.Astra.Iterations];
        var astra = setUp.Astra with { HalveEvery = Math.Max(1, setUp.Astra.Iterations / 3) };
        var found = new Dictionary<string, List<(Damping Damping, InfluenceScores Scores)>>();
        try
        {
            foreach (var damping in s_factors.Select(Damping.RelativeToMeanEigenvalue))
            {
                Add(Plain, damping, () => ekfac);
                Add("EK-FAC, empirical Fisher", damping, () => empirical);
                Add("EC-Shampoo", damping, () => shampoo);
                Add(
                    $"EK-FAC + block CG, {block.Examples} examples, half of the matrix EK-FAC's",
                    damping,
                    () => BlockConjugateGradient.Fit(task, train, ekfac, block with { Shrinkage = 0.5 })
                );
                Add($"EK-FAC + block CG, {block.Examples} examples", damping, () => BlockConjugateGradient.Fit(task, train, ekfac, block));
                foreach (var steps in lengths)
                {
                    Add(NameOf(steps), damping, () => Astra.Fit(task, train, ekfac, Of(steps)));
                }

                Add($"{NameOf(lengths[1])}, of the margin", damping, () => Astra.Fit(task, train, ekfac, astra), WithMargin(task, model));
                context.Note(
                    new ScoreComparison().Evaluate(halves, [.. found.Select(method => (method.Key, method.Value[^1].Scores))]).ToString()
                );
            }

            Choose();
        }
        finally
        {
            foreach (var (_, scores) in found.Values.SelectMany(f => f))
            {
                scores.Dispose();
            }
        }

        var settings = FindingsBuilder.Settings(
            study,
            $"{halves.Subsets.Count} random halves, drawn with seed {DeepStudy.SubsetSeed}",
            setUp.Seeds,
            [DeepStudy.FirstModelSeed]
        );
        settings["queries"] =
            $"every {oneQueryIn}th, {queries.Count}; dampings are chosen on {heldOut.Length} of them and held against "
            + $"each other on the {reported.Length} others";
        settings["labels drawn for each example by EK-FAC and EC-Shampoo"] = setUp.Curvature.LabelDraws.ToString(
            CultureInfo.InvariantCulture
        );
        return new Findings(settings, FindingsBuilder.Facts(study, model, judge), study.Times, judge.Results, []);

        string NameOf(int steps) => $"EK-FAC + ASTRA, {steps} steps on batches of {astra.BatchSize}";

        Astra.Options Of(int steps) => astra with { Iterations = steps, HalveEvery = Math.Max(1, steps / 3) };

        void Add(string name, Damping damping, Func<Preconditioner> fit, InfluenceTask? own = null)
        {
            var (scores, seconds) = Clocked.Run(() =>
            {
                var preconditioner = fit();
                try
                {
                    return new InfluenceFunction(preconditioner) { Damping = damping }.Score(
                        own ?? task,
                        train,
                        queries with
                        {
                            BatchSize = queries.Count,
                        }
                    );
                }
                finally
                {
                    if (preconditioner is not LayerwisePreconditioner)
                    {
                        preconditioner.Dispose();
                    }
                }
            });
            context.Note(string.Create(CultureInfo.InvariantCulture, $"{name}: {scores.Metadata.Curvature}"));
            judge.Add("LDS", name, new Lds().Evaluate(scores, halves).Mean, queries.Count, damping.Short(), seconds);
            if (!found.TryGetValue(name, out var at))
            {
                found[name] = at = [];
            }

            at.Add((damping, scores));
        }

        // Each method at the damping that the held-out queries choose, less EK-FAC at its own, on the other queries.
        void Choose()
        {
            var chosen = new Dictionary<string, (Damping Damping, InfluenceScores Scores)>();
            foreach (var (name, at) in found)
            {
                var (damping, scores) = at.MaxBy(a =>
                {
                    using var held = EachQuery.Some(a.Scores, heldOut);
                    return new Lds { Bootstrap = new Bootstrap { Resamples = 0 } }
                        .Evaluate(held, halves)
                        .Mean.Value;
                });
                chosen[name] = (damping, EachQuery.Some(scores, reported));
            }

            var compared = new ScoreComparison { Bootstrap = new Bootstrap { Resamples = context.Pick(1000, 100) } }.Evaluate(
                halves,
                [(Plain, chosen[Plain].Scores), .. chosen.Where(c => c.Key != Plain).Select(c => (c.Key, c.Value.Scores))]
            );
            foreach (var (name, (damping, scores)) in chosen)
            {
                judge.Add(
                    "LDS, damping chosen on held-out queries",
                    name,
                    new Lds().Evaluate(scores, halves).Mean,
                    reported.Length,
                    damping.Short()
                );
                if (name != Plain && compared.Scores.First(s => s.Name == name).Difference is { } difference)
                {
                    judge.Add("LDS, paired difference, dampings chosen", $"{name} less {Plain}", difference, compared.QueryCount);
                }

                scores.Dispose();
            }
        }
    }

    /// <summary>The loss is a function of the margin, log(1 + exp(-margin)), so that each query's scores of the two have the same order up
    /// to the rounding of a gradient near zero.</summary>
    private static InfluenceTask WithMargin(InfluenceTask task, nn.Module<Tensor, Tensor> model) =>
        task with
        {
            Measurement = batch =>
            {
                var z = model.call(batch["x"]); // [B, C]
                var own = batch["y"].unsqueeze(1); // [B, 1]
                var others = z.scatter(1, own, full_like(own, double.NegativeInfinity, z.dtype)).logsumexp(1);
                return others - z.gather(1, own).squeeze(1);
            },
        };

    /// <summary>Kept beside the trainings: with many label draws it takes as long as they do.</summary>
    private static Ekfac Fit(PartContext context, Study study, InfluenceTask task, Examples train, Ekfac.Options options)
    {
        // The budget, which is the machine's, changes nothing in the fit.
        var key = study.Key($"EK-FAC; seed {DeepStudy.FirstModelSeed}; {options with { MemoryBudget = MemoryBudget.Default }}");
        var path = Path.Combine(context.Cache, $"ekfac-{key}.safetensors");
        if (File.Exists(path))
        {
            return Ekfac.Load(path);
        }

        var fit = Ekfac.Fit(task, train, options);
        fit.Save(path);
        return fit;
    }
}
