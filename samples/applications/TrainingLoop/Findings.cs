using Influence;
using Influence.Evaluation;
using Influence.Training;

namespace TrainingLoop;

/// <summary>What recorders in a plain run tell of its examples.</summary>
/// <param name="Aucs">By score: how well it tells noisy examples from clean ones.</param>
/// <param name="NoisyValue">The mean in-run value of noisy examples, over the run.</param>
/// <param name="CleanValue">The mean in-run value of clean examples, over the run.</param>
/// <param name="Map">The data map.</param>
internal sealed record Findings(IReadOnlyList<(string Score, double Auc)> Aucs, double NoisyValue, double CleanValue, Cartography Map)
{
    // Intervals over examples would say nothing of other runs.
    private static readonly MislabelDetection s_detection = new() { Bootstrap = new Bootstrap { Resamples = 0 } };

    public static Findings Of(TrainingDynamics dynamics, InRunValues values, IReadOnlyList<bool> isNoisy)
    {
        var inRun = values.Scores();
        var map = dynamics.Cartography();
        (string Name, ExampleScores Scores, double Sign)[] scores =
        [
            ("in-run value", values.MeanScores(), -1),
            ("area under the margin", dynamics.AreaUnderMargin(), -1),
            ("confidence", map.Confidence, -1),
            ("EL2N", dynamics.El2n(), 1),
            ("mean loss", dynamics.MeanLoss(), 1),
        ];
        return new Findings(
            [.. scores.Select(score => (score.Name, Auc(score.Scores, score.Sign, isNoisy)))],
            MeanWhere(inRun, id => isNoisy[(int)id]),
            MeanWhere(inRun, id => !isNoisy[(int)id]),
            map
        );
    }

    private static double MeanWhere(ExampleScores scores, Func<long, bool> counts) =>
        scores.Ids.Zip(scores.Values).Where(pair => counts(pair.First)).Average(pair => pair.Second);

    /// <summary>Of a score whose suspicious end is where the sign says.</summary>
    private static double Auc(ExampleScores scores, double sign, IReadOnlyList<bool> isNoisy) =>
        s_detection
            .Evaluate(
                ExampleScores.Of(scores.Ids, [.. scores.Values.Select(value => sign * value)]),
                scores.Ids.Where(id => isNoisy[(int)id])
            )
            .Auc.Value;
}
