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

    /// <summary>A model of one of the deep set-ups.</summary>
    /// <param name="context">The part's.</param>
    /// <param name="name">The set-up's.</param>
    /// <param name="setUp">The set-up; one model of it is trained, and no retraining made.</param>
    public static Findings Deep(PartContext context, string name, SetUp setUp)
    {
        set_num_threads(1);
        const int Most = 100;
        var own = context.Of(name.ToLowerInvariant());
        var study = new Study(own, setUp.Recipe, setUp.Data);
        var run = study.Full(DeepStudy.FirstModelSeed);
        var asked = setUp.Data.Queries(setUp.BatchSize);
        asked = asked.Only(asked.Ids.Take(Most));
        return Compared(
            context,
            name,
            $"{study.Describe()}; {asked.Count} queries; {setUp.Curvature.LabelDraws} labels drawn for each example",
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
            asked,
            setUp.Curvature,
            []
        );
    }

    /// <summary>A pretrained model.</summary>
    /// <param name="context">The part's.</param>
    /// <param name="tuned">The model, which is disposed.</param>
    public static Findings Run(PartContext context, FineTuned tuned)
    {
        using (tuned)
        {
            return Compared(context, tuned.Name, tuned.Facts, tuned.In, tuned.Train, tuned.Queries, tuned.Curvature, tuned.Flipped);
        }
    }

    private static Findings Compared(
        PartContext context,
        string name,
        string facts,
        Func<ScalarType, (nn.Module Model, InfluenceTask Task)> make,
        Examples train,
        Examples queries,
        Ekfac.Options curvature,
        IReadOnlyList<long> flipped
    )
    {
        var rows = new List<IReadOnlyList<string>>();
        var single = new Dictionary<string, InfluenceScores>();
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16, ScalarType.Float16 })
        {
            var (model, task) = make(type);
            using (model)
            {
                Row("TracIn, last weights", () => (new TracIn().Score(task, train, queries), Auc(new TracIn().SelfInfluence)));
                Row(
                    "EK-FAC",
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

            void Row(string method, Func<(InfluenceScores Scores, double Auc)> score)
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

        return Findings.Of(
            new Dictionary<string, string> { [name] = facts },
            new NamedTable("Scores in half precision beside float32", About, [s_head, .. rows])
        );
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
