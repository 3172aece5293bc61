using System.Globalization;
using Influence.Curvature;
using Influence.Unlearning;

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
    private const int Batch = 50;
    private static readonly double[] s_targets = [1, 2, 6];
    private static readonly double[] s_dampings = [0.1, 1, 10];
    private static readonly double[] s_rates = [0.01, 0.03, 0.1];

    /// <summary>All methods but L-CODEC, which takes a product with the curvature of all kept examples for each parameter that moves. The
    /// rates are those of images, times the set's scale.</summary>
    public static IReadOnlyList<Contender> For(ForgetSet set)
    {
        return
        [
            new(
                "influence step, EK-FAC",
                [
                    .. new[] { (0.1, 0.02), (0.1, 0.2), (1.0, 0.2) }.Select(s =>
                        Setting($"damping {s.Item1}, kept loss +{s.Item2}", subject => Influence(subject, s.Item1, s.Item2))
                    ),
                ],
                NeedsCurvature: true
            ),
            Tried("IAU", [0.1, 0.5, 2.0], rate => new InfluenceApproximation { LearningRate = rate }),
            Tried("fine-tuning", [0.01, 0.05, 0.1], rate => Steps(GradientUnlearning.FineTuning, rate, 100)),
            Tried("gradient ascent", [0.001, 0.003, 0.01], rate => Steps(GradientUnlearning.Ascent, rate, 30)),
            new(
                "gradient difference",
                [
                    .. s_targets.Select(factor =>
                        Setting(
                            $"to {factor} x the loss of unseen ones",
                            // Nothing bounds the difference from below: without an end to it the loss of the forgotten ones, and with it
                            // the
                            // model, runs away.
                            subject =>
                                Run(
                                    subject,
                                    Steps(GradientUnlearning.Difference, 0.01 * set.RateScale, 60) with
                                    {
                                        ForgetLossLimit = factor * subject.PeerLoss,
                                    }
                                )
                        )
                    ),
                ]
            ),
            Relabelled("random labels", null),
            Relabelled("SalUn", WeightSaliency.Salun()),
            Relabelled("WAGLE", WeightSaliency.Wagle()),
            new(
                "SLUG",
                [
                    .. s_targets.Select(factor =>
                        Setting(
                            $"{factor} x the loss of unseen ones",
                            subject => Run(subject, new SingleLayerUnlearning { TargetLoss = factor * subject.PeerLoss })
                        )
                    ),
                ]
            ),
            new(
                "datamodel matching, EK-FAC scores",
                [
                    .. s_dampings.Select(damping =>
                        Setting($"damping {damping}", subject => Matched(subject, damping, 0.001 * set.RateScale))
                    ),
                ],
                NeedsCurvature: true
            ),
        ];

        string Rate(double rate) => string.Create(CultureInfo.InvariantCulture, $"rate {rate * set.RateScale:0.####}");

        Contender Tried(string name, double[] rates, Func<double, UnlearningMethod> method) =>
            new(name, [.. rates.Select(rate => Setting(Rate(rate), subject => Run(subject, method(rate * set.RateScale))))]);

        Contender Relabelled(string name, WeightSaliency? saliency) =>
            new(
                name,
                [
                    .. s_rates.Select(rate =>
                        Setting(
                            Rate(rate),
                            subject =>
                                Run(
                                    subject,
                                    Steps(
                                        GradientUnlearning.Relabelling(b => set.OtherLoss(subject.Model, b)),
                                        rate * set.RateScale,
                                        100
                                    ) with
                                    {
                                        Saliency = saliency,
                                    }
                                )
                        )
                    ),
                ]
            );
    }

    private static (string Name, Func<Subject, UnlearningMethod.Result> Unlearn) Setting(
        string name,
        Func<Subject, UnlearningMethod.Result> unlearn
    ) => (name, unlearn);

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

    /// <summary>Margins of forgotten and kept examples, brought to where the scores of the forgotten ones predict them.</summary>
    private static UnlearningMethod.Result Matched(Subject subject, double damping, double rate)
    {
        var (scores, _) = subject.MarginScores(damping);
        return Run(
            subject,
            new DatamodelMatching(scores)
            {
                Outputs = b => subject.Set.Margin(subject.Model, b),
                Steps = 150,
                LearningRate = rate,
                BatchSize = Batch,
            }
        );
    }
}
