using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Groups;
using Influence.Scorers;
using Influence.Selection;
using Influence.Training;

namespace PretrainedTextClassifier;

/// <summary>The questions that are asked of the trained model; each answer is a table.</summary>
/// <param name="Task">The trained model and its loss.</param>
/// <param name="Influence">Over the fitted curvature.</param>
/// <param name="Train">The training mails.</param>
/// <param name="Examples">The same for the library.</param>
/// <param name="Costs">Takes down what each answer took.</param>
/// <param name="Progress">Told on the way.</param>
/// <param name="Token">Ends the work.</param>
internal sealed record Findings(
    InfluenceTask Task,
    InfluenceFunction Influence,
    MailTensors Train,
    Examples Examples,
    Costs Costs,
    IProgress<InfluenceProgress> Progress,
    CancellationToken Token
)
{
    /// <summary>Rankings by how suspicious a label is; the first is EK-FAC's self-influence.</summary>
    public IReadOnlyList<(string Name, ExampleScores Scores)> Rankings(
        OnnxGraph graph,
        IReadOnlyList<Checkpoint> checkpoints,
        MailTensors clean,
        Predictions onTrain,
        int seed
    )
    {
        var own = Costs.Measure("EK-FAC, self-influence", () => Influence.SelfInfluence(Task, Examples, Progress, Token));
        var harm = Costs.Measure(
            $"EK-FAC, influence on {clean.Mails.Count} clean mails",
            () =>
            {
                var mean = Influence with { Aggregation = InfluenceFunction.QueryAggregation.Mean };
                using var scores = mean.Score(Task, Examples, clean.ToExamples(), Progress, Token);
                var row = scores.ForQuery(0);
                return ExampleScores.Of(row.Ids, [.. row.Values.Select(value => -value)], "harm to clean mails");
            }
        );
        var tracIn = Costs.Measure(
            $"TracIn, self-influence over {checkpoints.Count} checkpoints",
            () => new TracIn { Checkpoints = checkpoints }.SelfInfluence(Task, Examples, Progress, Token)
        );
        var losses = Costs.Measure("losses", () => new ExampleLosses().Score(Task, Examples, Progress, Token));
        using var inSample = onTrain.ToTensor();
        using var outOfSample = Costs.Measure(
            "five folds on frozen embeddings",
            () => FrozenEmbeddings.OutOfSample(graph, Train, seed, Token)
        );
        var random = Randomness.For(seed, "random ranking");
        return
        [
            ("EK-FAC, self-influence", own),
            ("EK-FAC, harm to clean mails", harm),
            ("TracIn, self-influence", tracIn),
            ("loss", losses),
            ("confident learning, own probabilities", new ConfidentLearning().Find(inSample, Train.GivenLabels).SelfConfidence),
            (
                "confident learning, five folds on frozen embeddings",
                new ConfidentLearning().Find(outOfSample, Train.GivenLabels).SelfConfidence
            ),
            ("random", ExampleScores.Of(own.Ids, [.. own.Ids.Select(_ => random.NextDouble())])),
        ];
    }

    /// <summary>The tenth of the training mails that helps hard ham most, as many of each given class as there are, beside a tenth at
    /// random.</summary>
    public IReadOnlyList<(string Pick, IReadOnlyList<long> Ids)> BestTenth(MailTensors target, int seed)
    {
        var mean = Influence with { Aggregation = InfluenceFunction.QueryAggregation.Mean };
        using var scores = Costs.Measure(
            $"EK-FAC, influence on {target.Mails.Count} mails of hard ham",
            () => mean.Score(Task, Examples, target.ToExamples(), Progress, Token)
        );
        using var pool = new SelectionPool(scores)
        {
            Groups = ExampleGroups.Of(scores.TrainIds, id => Mail.Name(Train.GivenLabels[(int)id])),
        };
        var tenth = SelectionBudget.Fraction(0.1);
        return
        [
            ("the best tenth for hard ham", new Stratified(new TopK()).Select(pool, tenth).Ids),
            (
                "a tenth at random",
                new Stratified(new RandomSelection()) { Seed = seed }
                    .Select(pool, tenth)
                    .Ids
            ),
        ];
    }

    /// <summary>
    /// What leaving out each source would do to the loss of the test mails, to first order, twice: by curvature at the end of the run, with
    /// the damping that its length is, and by the optimizer's steps at the checkpoints.
    /// </summary>
    /// <param name="test">The test mails.</param>
    /// <param name="checkpoints">One for each epoch.</param>
    /// <param name="batchSize">Of the training.</param>
    public IReadOnlyList<SourceForecast> Sources(MailTensors test, IReadOnlyList<Checkpoint> checkpoints, int batchSize)
    {
        var groups = ExampleGroups.Of(Examples.Ids, id => Train.Mails[(int)id].Source);
        var queries = test.ToExamples();
        var curved = new GroupInfluence(Influence with { Damping = Damping.OfRun(checkpoints) });
        var stepped = new GroupInfluence(new TracIn { Checkpoints = checkpoints, Direction = TracIn.UpdateDirection.Optimizer });

        // An epoch visits each mail once, as one of a batch.
        return [Forecast("EK-FAC", curved, 1.0 / Examples.Count), Forecast("TracIn", stepped, 1.0 / batchSize)];

        SourceForecast Forecast(string name, GroupInfluence method, double unit) =>
            new(
                name,
                unit,
                Costs.Measure(
                    $"{name}, influence of sources",
                    () => method.Score(Task, Examples, groups, queries, ExampleGroups.Of(queries.Ids, _ => "test mails"), Progress, Token)
                )
            );
    }
}
