using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Parts;
using Influence.Quality.Training;
using Influence.Scorers;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Judging;

/// <summary>A tenth of the training labels flipped, and looked for by loss, self-influence and confident learning.</summary>
internal static class AdamLabels
{
    private const string Metric = "mislabelled, AUC";
    private const int Folds = 5;

    /// <returns>What was done, in words.</returns>
    public static string Add(PartContext context, AdamSetUp setUp, Judge judge, Damping damping, long seed)
    {
        var (labels, flipped) = FlippedLabels.Flip(setUp.Data.TrainY, setUp.Classes);
        using var own = labels;
        var data = setUp.Data with { TrainY = labels, Note = $"{setUp.Data.Note}, a tenth of the labels flipped" };
        var trained = new Study(context, setUp.Recipe, data).Full(seed);
        using var model = trained.AtTheEnd();
        var (task, train, few) = (TrainedModel.Task(model), data.Train(), trained.After(setUp.FewEpochs));
        Judged("loss", () => new ExampleLosses().Score(task, train));
        Judged("gradient norm (GraNd), final weights", () => new GraNd().Score(task, train));
        Judged($"gradient norm (GraNd), {few.Count} checkpoints", () => new GraNd { Checkpoints = few }.Score(task, train));
        Judged("TracIn self-influence, final weights", () => new TracIn().SelfInfluence(task, train));
        Judged(
            "TracIn self-influence, final weights, optimizer's direction",
            () => new TracIn { Checkpoints = [few[^1]], Direction = TracIn.UpdateDirection.Optimizer }.SelfInfluence(task, train)
        );
        Judged($"TracIn self-influence, {few.Count} checkpoints", () => new TracIn { Checkpoints = few }.SelfInfluence(task, train));
        Judged(
            $"TracIn self-influence, {few.Count} checkpoints, optimizer's direction",
            () => new TracIn { Checkpoints = few, Direction = TracIn.UpdateDirection.Optimizer }.SelfInfluence(task, train)
        );
        using (var ekfac = Ekfac.Fit(task, train, setUp.Curvature))
        {
            Judged("EK-FAC self-influence", () => new InfluenceFunction(ekfac) { Damping = damping }.SelfInfluence(task, train));
        }

        ConfidentLearning.Result? issues = null;
        Judged($"confident learning, self-confidence, {Folds} folds", () => (issues = Issues(setUp.Recipe, data, seed)).SelfConfidence);
        Judged($"confident learning, margin, {Folds} folds", () => issues!.Margin);
        var right = issues!.Ids.Intersect(flipped).Count();
        return $"{flipped.Count} of {train.Count}; model seed {seed}; EK-FAC's damping is the one chosen for the LDS; "
            + $"confident learning itself names {issues.Ids.Count} labels, {right} of them flipped ones";

        void Judged(string method, Func<ExampleScores> score)
        {
            var (scores, seconds) = Clocked.Run(score);
            var result = new MislabelDetection { Bootstrap = new Bootstrap { Resamples = context.Pick(1000, 100) } }.Evaluate(
                scores,
                flipped
            );
            judge.Add(Metric, method, result.Auc, train.Count, seconds: seconds);
        }
    }

    private static ConfidentLearning.Result Issues(Recipe recipe, Data.LabelledData data, long seed)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var trainer = new Trainer(recipe, data.TrainX, data.TrainY);
        var rows = new (long Id, Tensor Row)[data.TrainX.shape[0]];
        for (var fold = 0; fold < Folds; fold++)
        {
            long[] held = [.. data.TrainIds.Where(id => id % Folds == fold)];
            nn.Module<Tensor, Tensor> model;
            using (enable_grad())
            {
                model = trainer.Train([.. data.TrainIds.Where(id => id % Folds != fold)], seed);
            }

            using (model)
            {
                var p = nn.functional.softmax(model.call(data.TrainX.index_select(0, tensor(held))), 1);
                for (var i = 0; i < held.Length; i++)
                {
                    rows[held[i]] = (held[i], p[i]);
                }
            }
        }

        return new ConfidentLearning().Find(stack([.. rows.Select(r => r.Row)], 0), data.TrainY.data<long>().ToArray());
    }
}
