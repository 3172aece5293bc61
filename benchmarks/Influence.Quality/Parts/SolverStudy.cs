using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;

namespace Influence.Quality.Parts;

/// <summary>
/// EK-FAC against what solves for the Gauss-Newton matrix itself around it: the same queries, the same dampings, layer by layer. Every
/// damping is reported: none is chosen.
/// </summary>
internal static class SolverStudy
{
    private const int OneQueryIn = 20;
    private static readonly double[] s_factors = [1, 10, 0.1];

    public static Findings Run(PartContext context, SetUp setUp)
    {
        // The trainings are W1's own.
        var study = new Study(context.Of("w1"), setUp.Recipe, setUp.Data);
        var halves = study.Retrain("halves", Subsets.Half(setUp.Data.TrainIds, setUp.Halves, DeepStudy.SubsetSeed), setUp.Seeds);
        var run = study.Full(DeepStudy.FirstModelSeed);
        var (train, all) = (setUp.Data.Train(setUp.BatchSize), setUp.Data.Queries(setUp.BatchSize));
        var queries = all.Only(all.Ids.Where((_, i) => i % OneQueryIn == 0));
        var judge = new Judge(context, halves, all);
        using var model = run.AtTheEnd();
        var task = TrainedModel.Task(model);
        using var ekfac = Fit(context, study, task, train, setUp.Curvature);
        var block = new BlockConjugateGradient.Options { Examples = context.Pick(1024, 128), MaximumIterations = 8 };
        var astra = setUp.Astra with { Iterations = context.Pick(60, 20), HalveEvery = context.Pick(20, 5) };
        foreach (var factor in s_factors)
        {
            var damping = Damping.RelativeToMeanEigenvalue(factor);
            using var plain = Add("EK-FAC", damping, () => ekfac);
            using var half = Add(
                $"EK-FAC + block CG, {block.Examples} examples, half of the matrix EK-FAC's",
                damping,
                () => BlockConjugateGradient.Fit(task, train, ekfac, block with { Shrinkage = 0.5 })
            );
            using var solved = Add(
                $"EK-FAC + block CG, {block.Examples} examples",
                damping,
                () => BlockConjugateGradient.Fit(task, train, ekfac, block)
            );
            using var refined = Add(
                $"EK-FAC + ASTRA, {astra.Iterations} steps on batches of {astra.BatchSize}",
                damping,
                () => Astra.Fit(task, train, ekfac, astra)
            );
            context.Note(
                new ScoreComparison()
                    .Evaluate(halves, ("EK-FAC", plain), ("block CG", solved), ("block CG, half EK-FAC", half), ("ASTRA", refined))
                    .ToString()
            );
        }

        var settings = FindingsBuilder.Settings(
            study,
            $"{halves.Subsets.Count} random halves, drawn with seed {DeepStudy.SubsetSeed}",
            setUp.Seeds,
            [DeepStudy.FirstModelSeed]
        );
        settings["queries"] = $"every {OneQueryIn}th, {queries.Count}";
        return new Findings(settings, FindingsBuilder.Facts(study, model, judge), study.Times, judge.Results, []);

        InfluenceScores Add(string name, Damping damping, Func<Preconditioner> fit)
        {
            var (scores, seconds) = Clocked.Run(() =>
            {
                var preconditioner = fit();
                try
                {
                    return new InfluenceFunction(preconditioner) { Damping = damping }.Score(
                        task,
                        train,
                        queries with
                        {
                            BatchSize = queries.Count,
                        }
                    );
                }
                finally
                {
                    if (!ReferenceEquals(preconditioner, ekfac))
                    {
                        preconditioner.Dispose();
                    }
                }
            });
            context.Note(string.Create(CultureInfo.InvariantCulture, $"{name}: {scores.Metadata.Curvature}"));
            judge.Add("LDS", name, new Lds().Evaluate(scores, halves).Mean, queries.Count, damping.Short(), seconds);
            return scores;
        }
    }

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
