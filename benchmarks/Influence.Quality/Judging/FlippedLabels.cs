using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Data;
using Influence.Quality.Parts;
using Influence.Quality.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Judging;

/// <summary>A tenth of the training labels turned into other classes, to be found by self-influence.</summary>
internal static class FlippedLabels
{
    private const int Seed = 3;
    private const long ModelSeed = 1000;
    private const string ExplicitInverse = "explicit inverse";
    private const string Metric = "mislabelled, AUC";

    /// <returns>What was done, in words.</returns>
    public static string Add(
        PartContext context,
        Recipe recipe,
        LabelledData data,
        IReadOnlyList<int> fewEpochs,
        Judge judge,
        IReadOnlyDictionary<string, Damping> dampings
    )
    {
        var (labels, flipped) = Flip(data.TrainY);
        using var flippedLabels = labels;
        var study = new Study(context, recipe, data with { TrainY = labels, Note = $"{data.Note}, a tenth of the labels flipped" });
        var trained = study.Full(ModelSeed);
        using var model = trained.AtTheEnd();
        var (task, train) = (TrainedModel.Task(model), study.Data.Train());
        Judged("TracIn, final weights", () => new TracIn().SelfInfluence(task, train));
        Judged("TracIn, 4 checkpoints", () => new TracIn { Checkpoints = trained.After(fewEpochs) }.SelfInfluence(task, train));
        using (var ekfac = Ekfac.Fit(task, train))
        {
            Judged("EK-FAC", () => new InfluenceFunction(ekfac) { Damping = dampings["EK-FAC"] }.SelfInfluence(task, train));
        }

        if (dampings.ContainsKey(ExplicitInverse))
        {
            using var dense = DenseCurvature.Fit(task, train, new() { MaximumParameters = 10_000 });
            Judged(ExplicitInverse, () => new InfluenceFunction(dense) { Damping = dampings[ExplicitInverse] }.SelfInfluence(task, train));
        }

        Judged(
            "loss, without influence",
            () => ExampleScores.Of(train.Ids, Trainer.Measure(model, study.Data.TrainX, study.Data.TrainY).Losses)
        );
        return $"{flipped.Count} of {train.Count}, drawn with seed {Seed}; self-influence, at the dampings chosen for the LDS; model seed "
            + $"{ModelSeed}";

        void Judged(string method, Func<ExampleScores> score)
        {
            var (scores, seconds) = Clocked.Run(score);
            var result = new MislabelDetection { Bootstrap = new Bootstrap { Resamples = context.Pick(1000, 100) } }.Evaluate(
                scores,
                flipped
            );
            judge.Add(
                Metric,
                method,
                result.Auc,
                train.Count,
                dampings.TryGetValue(method, out var damping) ? damping.Short() : string.Empty,
                seconds
            );
        }
    }

    /// <summary>A tenth of the labels turned into another class each; the tensor is the caller's.</summary>
    public static (Tensor Labels, IReadOnlyList<long> Flipped) Flip(Tensor labels, int classes = 10)
    {
        var (random, values) = (new Random(Seed), labels.data<long>().ToArray());
        int[] order = [.. Enumerable.Range(0, values.Length)];
        random.Shuffle(order);
        long[] flipped = [.. order.Take(values.Length / 10).Select(i => (long)i).Order()];
        foreach (var i in flipped)
        {
            values[i] = (values[i] + random.Next(1, classes)) % classes;
        }

        return (tensor(values), flipped);
    }
}
