using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Data;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using TorchSharp;

namespace Influence.Quality.Parts;

/// <summary>
/// T1: logistic regression on MNIST, small enough for the curvature as a matrix. LDS on halves, leave-one-out, and flipped
/// labels.
/// </summary>
internal static class LogisticRegression
{
    private const long ModelSeed = 1000;
    private const long MaximumParameters = 10_000;

    public static Findings Run(PartContext context)
    {
        var pool = context.Pick(1, 2);
        var data = Images.Mnist.Load(context.Pick(5000, 1000), context.Pick(500, 100), pool);
        long[] widths = [data.TrainX.shape[1], 10];
        var recipe = new Recipe
        {
            Model = Recipe.MlpName(widths),
            Create = () => Recipe.Mlp(widths),
            Epochs = 20,
            LearningRate = 0.01,
            CheckpointEpochs = [5, 10, 15, 20],
        };
        var study = new Study(context, recipe, data);
        long[] seeds = [0, 1, 2];
        var halves = study.Retrain("halves", Subsets.Half(data.TrainIds, context.Pick(50, 20), seed: 1), context.Pick(seeds, [0, 1]));
        var trained = study.Full(ModelSeed);
        using var model = trained.AtTheEnd();
        var task = TrainedModel.Task(model);
        var (train, queries) = (data.Train(), data.Queries());
        var judge = new Judge(context, halves, queries);
        using var methods = Score(context, task, trained, train, judge);
        AddDatamodels(context, study, judge);
        var removals = AddLeaveOneOut(context, study, judge, methods);
        var flips = FlippedLabels.Add(context, recipe, data, recipe.CheckpointEpochs, judge, methods.Dampings);

        var settings = FindingsBuilder.Settings(
            study,
            $"{halves.Subsets.Count} random halves, drawn with seed 1",
            context.Pick(seeds, [0, 1]),
            [ModelSeed]
        );
        settings["leave-one-out"] = $"{removals} retrainings, each without one example, batches otherwise the same, seed {ModelSeed}";
        settings["flipped labels"] = flips;
        return new Findings(
            settings,
            FindingsBuilder.Facts(study, model, judge),
            study.Times,
            judge.Results,
            [
                new("LDS", "best, explicit or conjugate gradient", 0.80, "dattri's benchmark, best of its damping sweep"),
                new("leave-one-out, Pearson", "best", 0.88, "dattri's benchmark"),
                new("mislabelled, AUC", "best", 0.984, "dattri's benchmark"),
            ]
        );
    }

    private static ScoredMethods Score(PartContext context, InfluenceTask task, TrainedModel trained, Examples train, Judge judge)
    {
        var methods = new ScoredMethods();
        methods.Keep("TracIn, final weights", judge.Add("TracIn, final weights", q => new TracIn().Score(task, train, q)));
        methods.Keep(
            "TracIn, 4 checkpoints",
            judge.Add("TracIn, 4 checkpoints", q => new TracIn { Checkpoints = trained.Checkpoints }.Score(task, train, q))
        );
        methods.Keep(
            "cosine",
            judge.Add("cosine", q => new TracIn { Similarity = TracIn.GradientSimilarity.Cosine }.Score(task, train, q))
        );

        var (explicitFit, seconds) = Clocked.Run(() => DenseCurvature.Fit(task, train, new() { MaximumParameters = MaximumParameters }));
        using var dense = explicitFit;
        var best = methods.Keep(
            "explicit inverse",
            judge.Add("explicit inverse", Dampings.Absolute, Influence(dense, task, train), seconds)
        );
        using var solver = ConjugateGradient.Fit(task, train, new() { MaximumIterations = context.Pick(200, 50) });
        methods.Keep(
            "conjugate gradient",
            judge.Add("conjugate gradient, the explicit inverse's damping", [best], Influence(solver, task, train))
        );

        var (fit, fitSeconds) = Clocked.Run(() => Ekfac.Fit(task, train));
        using var ekfac = fit;
        methods.Keep("EK-FAC", judge.Add("EK-FAC", Dampings.Absolute, Influence(ekfac, task, train), fitSeconds));
        methods.Keep(
            "SOURCE, 1 segment",
            judge.Add("SOURCE, 1 segment", q => new Source(Source.Segment.Split(trained.Checkpoints, 1)).Score(task, train, q))
        );
        return methods;
    }

    private static Func<Damping, Examples, InfluenceScores> Influence(Preconditioner preconditioner, InfluenceTask task, Examples train) =>
        (damping, queries) => new InfluenceFunction(preconditioner) { Damping = damping }.Score(task, train, queries);

    /// <summary>Weights of a linear model, fitted to other halves than those that judge it.</summary>
    private static void AddDatamodels(PartContext context, Study study, Judge judge)
    {
        var count = context.Pick(200, 20);
        var runs = study.Retrain("halves for datamodels", Subsets.Half(study.Data.TrainIds, count, seed: 2), [0]);
        using var fitted = new Datamodels { Regression = Datamodels.Kind.Ridge }.Fit(runs);
        judge.Add($"datamodels, ridge on {count} other halves", queries => Rows(fitted.Scores, queries.Ids)).Dispose();
    }

    private static InfluenceScores Rows(InfluenceScores scores, IReadOnlyList<long> queryIds)
    {
        using var index = torch.tensor(queryIds.Select(id => (long)scores.RowOf(id)).ToArray());
        return new InfluenceScores(scores.Values.index_select(0, index), queryIds, scores.TrainIds, scores.Metadata);
    }

    private static int AddLeaveOneOut(PartContext context, Study study, Judge judge, ScoredMethods methods)
    {
        var ids = study.Data.TrainIds;
        long[] removed = [.. ids.Where((_, i) => i % context.Pick(10, 25) == 0)];
        var runs = study.Retrain("leave-one-out", Subsets.LeaveOneOut(ids, removed), [ModelSeed], holes: true);
        foreach (var (name, scores) in methods.All)
        {
            var result = new LeaveOneOutCorrelation { Bootstrap = new Bootstrap { Resamples = context.Pick(1000, 100) } }.Evaluate(
                scores,
                runs
            );
            judge.Add("leave-one-out, Pearson", name, result.Pearson, result.Queries.Count);
        }

        return removed.Length;
    }
}
