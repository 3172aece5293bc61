using System.Globalization;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Evaluation;
using Influence.Quality.Parts;
using Influence.Quality.Reporting;
using Influence.Quality.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Pretrained;

/// <summary>What half precision does to scores: the same weights in float32, bfloat16 and float16.</summary>
internal static class HalfStudy
{
    private const string About =
        "Scores of all training examples for each query, beside those of the same weights in float32: the rank correlation "
        + "(mean over queries, with its lowest), the relative error |half - single| / |single| over all pairs, and the seconds of the "
        + "processor for fit and scores. EK-FAC draws its labels from the model, by the same seed.";

    private static readonly string[] s_head =
    [
        "model",
        "numbers",
        "scores",
        "rank correlation",
        "lowest query",
        "relative error",
        "AUC of flipped labels",
        "processor s",
    ];

    public static Findings Run(PartContext context)
    {
        set_num_threads(1);
        var (rows, settings) = (new List<IReadOnlyList<string>>(), new Dictionary<string, string>());
        Deep(context.Of("w1"), "W1", SetUps.FashionMlp(context), queries: 100);
        Deep(context.Of("t8"), "T8", SetUps.Decoder(context), queries: 60);
        foreach (var tuned in FineTunedModels.All(context, context.Pick(0.5, 0.2)))
        {
            using (tuned)
            {
                settings[tuned.Name] = tuned.Facts;
                Compare(
                    tuned.Name,
                    type =>
                    {
                        var (model, task) = tuned.In(type);
                        return (model, task);
                    },
                    tuned.Train,
                    tuned.Queries,
                    tuned.Curvature,
                    tuned.Flipped
                );
            }
        }

        return new Findings(settings, new Dictionary<string, string>(), new Dictionary<string, double>(), [], [])
        {
            Tables = [new NamedTable("Scores in half precision beside float32", About, [s_head, .. rows])],
        };

        void Deep(PartContext own, string name, SetUp setUp, int queries)
        {
            var study = new Study(own, setUp.Recipe, setUp.Data);
            var run = study.Full(DeepStudy.FirstModelSeed);
            settings[name] = $"{study.Describe()}; the first {queries} queries; {setUp.Curvature.LabelDraws} labels drawn for each example";
            var asked = setUp.Data.Queries(setUp.BatchSize);
            Compare(
                name,
                type =>
                {
                    var model = run.AtTheEnd();
                    model.to(type);
                    return (
                        model,
                        new InfluenceTask(model)
                        {
                            TrainingLoss = batch =>
                                Losses.CrossEntropy(model.call(In(batch["x"], type)).to_type(ScalarType.Float32), batch["y"]),
                        }
                    );
                },
                setUp.Data.Train(setUp.BatchSize),
                asked.Only(asked.Ids.Take(queries)),
                setUp.Curvature,
                []
            );
        }

        void Compare(
            string name,
            Func<ScalarType, (nn.Module Model, InfluenceTask Task)> make,
            Examples train,
            Examples queries,
            Ekfac.Options curvature,
            IReadOnlyList<long> flipped
        )
        {
            Dictionary<string, InfluenceScores> single = [];
            foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16 })
            {
                var (model, task) = make(type);
                using (model)
                {
                    Row("TracIn, last weights", task, () => (new TracIn().Score(task, train, queries), Auc(new TracIn().SelfInfluence)));
                    Row(
                        "EK-FAC",
                        task,
                        () =>
                        {
                            using var fit = Ekfac.Fit(task, train, curvature);
                            var influence = new InfluenceFunction(fit) { Tolerance = 0 };
                            return (influence.Score(task, train, queries), Auc(influence.SelfInfluence));
                        }
                    );

                    double Auc(Func<InfluenceTask, Examples, IProgress<InfluenceProgress>?, CancellationToken, ExampleScores> score) =>
                        flipped.Count == 0
                            ? double.NaN
                            : new MislabelDetection().Evaluate(score(task, train, null, CancellationToken.None), flipped).Auc.Value;
                }

                void Row(string method, InfluenceTask task, Func<(InfluenceScores Scores, double Auc)> score)
                {
                    var before = Environment.CpuUsage.TotalTime;
                    var (scores, auc) = score();
                    var seconds = (Environment.CpuUsage.TotalTime - before).TotalSeconds;
                    IReadOnlyList<string> compared = ["1", "1", "0"];
                    if (type == ScalarType.Float32)
                    {
                        single[method] = scores;
                    }
                    else
                    {
                        using (scores)
                        {
                            compared = Against(scores, single[method]);
                        }
                    }

                    rows.Add([name, $"{type}", method, .. compared, double.IsNaN(auc) ? string.Empty : Number(auc), Number(seconds, "0.0")]);
                    context.Note(string.Join(", ", rows[^1]));
                }
            }

            foreach (var scores in single.Values)
            {
                scores.Dispose();
            }
        }
    }

    private static Tensor In(Tensor x, ScalarType type) => x.is_floating_point() ? x.to_type(type) : x;

    private static IReadOnlyList<string> Against(InfluenceScores scores, InfluenceScores single)
    {
        using var scope = NewDisposeScope();
        var agreement = new RankAgreement { Bootstrap = new Bootstrap { Resamples = 0 } }.Evaluate(scores, single);
        var error = (scores.Values - single.Values).norm() / single.Values.norm();
        return
        [
            Number(agreement.Mean.Value, "0.00000"),
            Number(agreement.Queries.Min(query => query.Correlation), "0.00000"),
            Number(error.to_type(ScalarType.Float64).item<double>(), "0.0000"),
        ];
    }

    private static string Number(double value, string format = "0.000") => value.ToString(format, CultureInfo.InvariantCulture);
}
