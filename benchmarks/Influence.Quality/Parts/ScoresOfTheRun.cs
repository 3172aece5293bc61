using System.Globalization;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Data;
using Influence.Quality.Judging;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using Influence.Recipes;
using Influence.Scorers;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Parts;

/// <summary>
/// D1: a tenth of Fashion-MNIST's labels flipped, to be found by what the training run itself yields, beside self-influence. The
/// cost of each score is in seconds beyond the plain training, which is timed too.
/// </summary>
internal static class ScoresOfTheRun
{
    private const string Metric = "mislabelled, AUC";
    private const long Seed = 1000;

    public static Findings Run(PartContext context)
    {
        var clean = Images.FashionMnist.Load(context.Pick(10_000, 1000), context.Pick(500, 100), context.Pick(1, 2));
        var (labels, flipped) = FlippedLabels.Flip(clean.TrainY);
        var data = clean with { TrainY = labels };
        long[] widths = [data.TrainX.shape[1], .. context.Pick<long[]>([256, 128], [64, 32]), 10];
        var recipe = new Recipe
        {
            Model = Recipe.MlpName(widths),
            Create = () => Recipe.Mlp(widths),
            Epochs = context.Pick(10, 12),
            LearningRate = 0.03,
            CheckpointEpochs = [.. Enumerable.Range(1, context.Pick(10, 12))],
        };
        var trained = new Study(context, recipe, data with { Note = $"{data.Note}, a tenth of the labels flipped" }).Full(Seed);
        context.Note("trained with checkpoints");
        using var run = new WatchedRun(recipe, data, Seed);
        context.Note("trained with recorders");
        var results = new List<Result>();
        var (dynamics, inRun) = (run.Dynamics, run.InRun);
        Add("loss at the last presentation", () => dynamics.LastLoss(), run.DynamicsSeconds);
        Add("mean loss", () => dynamics.MeanLoss(), run.DynamicsSeconds);
        Add("EL2N, all presentations", () => dynamics.El2n(), run.DynamicsSeconds);
        Add("EL2N, second and third presentation", () => dynamics.El2n(1..3), run.DynamicsSeconds);
        Add(
            "forgetting events, never learnt = all",
            () => dynamics.ForgettingEvents(neverLearnt: recipe.Epochs).Scores,
            run.DynamicsSeconds
        );
        Add("cartography, low confidence", () => Negative(dynamics.Cartography().Confidence), run.DynamicsSeconds);
        Add("cartography, variability", () => dynamics.Cartography().Variability, run.DynamicsSeconds);
        Add("area under the margin, low", () => Negative(dynamics.AreaUnderMargin()), run.DynamicsSeconds);
        Add("gradient norms in the loop (GraNd), mean", () => run.Norms.Grand(), run.NormSeconds);
        Add("in-run data value, first order, low", () => Negative(inRun.Scores()), run.InRunSeconds);

        using var model = trained.AtTheEnd();
        var (task, train, checkpoints) = (TrainedModel.Task(model), data.Train(), trained.Checkpoints);
        IReadOnlyList<Checkpoint> few = [.. checkpoints.Where((_, i) => i % 3 == 0)];
        Add($"GraNd, {few.Count} checkpoints", () => new GraNd { Checkpoints = few }.Score(task, train));
        var vog = new VarianceOfGradients
        {
            Checkpoints = few,
            Logits = b => model.call(b["x"]),
            Labels = b => b["y"],
        };
        Add($"VoG, {few.Count} checkpoints", () => vog.Score(task, train));
        var donod = new DonodOnNoise(recipe, data, flipped, Seed);
        foreach (var (name, score) in donod.Rankings(model))
        {
            Add(name, score);
        }

        Add("gradient spectra, nuclear norm", () => new GradientSpectra().Score(task, train).MeanNuclearNorm());
        Add(
            "DELT's LQS, checkpoints after epochs 1 to 3, low",
            () => Negative(new LearnabilityQuality { Checkpoints = [.. checkpoints.Take(3)] }.Score(task, train, data.Queries()))
        );
        Add($"TracIn self-influence, {few.Count} checkpoints", () => new TracIn { Checkpoints = few }.SelfInfluence(task, train));

        var settings = new Dictionary<string, string>
        {
            ["data"] = data.Note,
            ["recipe"] = recipe.Describe(),
            ["flipped"] = $"{flipped.Count} of {train.Count} labels",
            ["model seed"] = Seed.ToString(CultureInfo.InvariantCulture),
            ["validation of in-run values, target of LQS"] =
                $"{data.QueryX.shape[0]} clean test images; {WatchedRun.ValidationBatch} of them in a step",
            ["seconds"] =
                "beyond the plain training, the run's recording and the score together; scores of several presentations come "
                + "from one recording",
        };
        var facts = new Dictionary<string, string>
        {
            ["accuracy at the end, test images"] = Trainer
                .Measure(model, data.QueryX, data.QueryY)
                .Accuracy.ToString("P1", CultureInfo.InvariantCulture),
            ["recording of the outputs, share of the plain training"] = Share(run.DynamicsSeconds),
            ["gradient norms in the loop, share of the plain training"] = Share(run.NormSeconds),
            ["in-run values, share of the plain training"] = Share(run.InRunSeconds),
        };
        foreach (var (what, figure) in donod.Selections(model))
        {
            facts[what] = figure;
            context.Note($"{what}: {figure}");
        }

        return new Findings(settings, facts, new Dictionary<string, double> { ["plain training"] = run.PlainSeconds }, results, []);

        string Share(double seconds) => (seconds / run.PlainSeconds).ToString("P1", CultureInfo.InvariantCulture);

        void Add(string method, Func<ExampleScores> score, double before = 0)
        {
            var (scores, seconds) = Clocked.Run(score);
            var auc = new MislabelDetection { Bootstrap = new Bootstrap { Resamples = context.Pick(1000, 100) } }
                .Evaluate(scores, flipped)
                .Auc;
            results.Add(new Result(Metric, method, auc.Value, auc.Lower, auc.Upper, scores.Count, string.Empty, [], before + seconds));
            context.Note($"{Metric} {auc} {method}");
        }
    }

    private static ExampleScores Negative(ExampleScores scores) =>
        ExampleScores.Of(scores.Ids, [.. scores.Values.Select(v => -v)], scores.Title);
}
