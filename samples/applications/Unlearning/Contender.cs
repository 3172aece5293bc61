using Influence;
using Influence.Curvature;
using Influence.Estimators;
using Influence.Unlearning;
using TorchSharp;
using static TorchSharp.torch;

namespace UnlearningSample;

/// <summary>A method with the settings that are tried; the best on a model of its own is used on the others.</summary>
/// <param name="Name">The method.</param>
/// <param name="Settings">Each by name, with what it unlearns by.</param>
/// <param name="NeedsCurvature">Whether the fit of the subject's curvature is part of its cost.</param>
internal sealed record Contender(
    string Name,
    IReadOnlyList<(string Name, Func<Subject, UnlearningMethod.Result> Unlearn)> Settings,
    bool NeedsCurvature = false
)
{
    private static readonly double[] s_relabellingRates = [0.003, 0.01, 0.03];

    private const int Batch = 50;

    /// <summary>All methods but L-CODEC, which takes a product with the curvature of all kept images for each parameter that
    /// moves.</summary>
    public static IReadOnlyList<Contender> All { get; } =
    [
        new(
            "influence step, EK-FAC",
            [
                .. new[] { (0.1, 0.02), (0.1, 0.2), (1.0, 0.2) }.Select(s =>
                    (
                        $"damping {s.Item1}, kept loss +{s.Item2}",
                        (Func<Subject, UnlearningMethod.Result>)(subject => Influence(subject, s.Item1, s.Item2))
                    )
                ),
            ],
            NeedsCurvature: true
        ),
        Tried("IAU", [0.1, 0.5, 2.0], rate => new InfluenceApproximation { LearningRate = rate }),
        Tried("fine-tuning", [0.01, 0.05, 0.1], rate => Steps(GradientUnlearning.FineTuning, rate, 100)),
        Tried("gradient ascent", [0.001, 0.003, 0.01], rate => Steps(GradientUnlearning.Ascent, rate, 30)),
        Tried("gradient difference", [0.003, 0.01, 0.03], rate => Steps(GradientUnlearning.Difference, rate, 60)),
        Relabelled("random labels", null),
        Relabelled("SalUn", WeightSaliency.Salun()),
        Relabelled("WAGLE", WeightSaliency.Wagle()),
        new(
            "SLUG",
            [
                .. new[] { 1.0, 2.0, 4.0 }.Select(factor =>
                    (
                        $"{factor} x the loss of unseen ones",
                        (Func<Subject, UnlearningMethod.Result>)(
                            subject => Run(subject, new SingleLayerUnlearning { TargetLoss = factor * subject.PeerLoss })
                        )
                    )
                ),
            ]
        ),
        new(
            "datamodel matching, EK-FAC scores",
            [
                .. new[] { 0.001, 0.003, 0.01 }.Select(rate =>
                    ($"rate {rate}", (Func<Subject, UnlearningMethod.Result>)(subject => Matched(subject, rate)))
                ),
            ],
            NeedsCurvature: true
        ),
    ];

    private static Contender Tried(string name, double[] rates, Func<double, UnlearningMethod> method) =>
        new(
            name,
            [.. rates.Select(rate => ($"rate {rate}", (Func<Subject, UnlearningMethod.Result>)(subject => Run(subject, method(rate)))))]
        );

    private static Contender Relabelled(string name, WeightSaliency? saliency) =>
        new(
            name,
            [
                .. s_relabellingRates.Select(rate =>
                    (
                        $"rate {rate}",
                        (Func<Subject, UnlearningMethod.Result>)(
                            subject =>
                                Run(
                                    subject,
                                    Steps(
                                        GradientUnlearning.Relabelling(b =>
                                            Losses.CrossEntropy(
                                                subject.Model.call(b["image"]),
                                                GradientUnlearning.OtherLabels(b, "label", LabelledImages.ClassCount)
                                            )
                                        ),
                                        rate,
                                        60
                                    ) with
                                    {
                                        Saliency = saliency,
                                    }
                                )
                        )
                    )
                ),
            ]
        );

    private static GradientUnlearning Steps(GradientUnlearning method, double rate, int steps) =>
        method with
        {
            Steps = steps,
            LearningRate = rate,
            BatchSize = Batch,
        };

    private static UnlearningMethod.Result Run(Subject subject, UnlearningMethod method) =>
        method.Unlearn(subject.Task, subject.Set.Train, subject.Set.Forget);

    private static UnlearningMethod.Result Influence(Subject subject, double damping, double rise) =>
        Run(
            subject,
            new NewtonUnlearning(subject.Curvature().Fit) { Damping = Damping.RelativeToMeanEigenvalue(damping), MaximumKeepRise = rise }
        );

    /// <summary>Margins of forgotten and kept images, brought to where the scores of the forgotten ones predict them.</summary>
    private static UnlearningMethod.Result Matched(Subject subject, double rate)
    {
        Tensor Margin(ExampleBatch b)
        {
            var logits = subject.Model.call(b["image"]); // [B, 10]
            var own = b["label"].unsqueeze(1); // [B, 1]
            // [B]
            return logits.gather(1, own).squeeze(1) - logits.scatter(1, own, full(own.shape, double.NegativeInfinity)).logsumexp(1);
        }

        var points = subject.Set.Some([.. subject.Set.Forget.Concat(subject.Set.Keep).Order()]);
        using var scores = new InfluenceFunction(subject.Curvature().Fit).Score(
            subject.Task with
            {
                Measurement = Margin,
            },
            subject.Set.ForgetExamples,
            points
        );

        // The factor of scores that were made on a part of the training images is that part's; it is that of all.
        using var whole = new InfluenceScores(
            scores.Values.clone(),
            scores.QueryIds,
            scores.TrainIds,
            scores.Metadata with
            {
                LeaveOneOutFactor = 1.0 / (subject.Set.TrainIds.Count - subject.Set.Forget.Count),
            }
        );
        return Run(
            subject,
            new DatamodelMatching(whole)
            {
                Outputs = Margin,
                Steps = 150,
                LearningRate = rate,
                BatchSize = Batch,
            }
        );
    }
}
