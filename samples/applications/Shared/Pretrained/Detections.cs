using System.Globalization;
using Influence;
using Influence.Evaluation;

namespace Samples.Pretrained;

/// <summary>How well rankings find the flipped labels.</summary>
internal static class Detections
{
    public static IReadOnlyList<(string Ranking, MislabelDetection.Result Result)> Of(
        IEnumerable<(string Ranking, ExampleScores Scores)> rankings,
        IReadOnlyList<long> flipped
    )
    {
        var detection = new MislabelDetection();
        return [.. rankings.Select(ranking => (ranking.Ranking, detection.Evaluate(ranking.Scores, flipped)))];
    }

    /// <summary>The same as a table.</summary>
    public static IReadOnlyList<IReadOnlyList<string>> Rows(IEnumerable<(string Ranking, MislabelDetection.Result Result)> found) =>
        [
            ["ranking by", "AUC", "from", "to", "found in the first tenth", "in the first fifth"],
            .. found.Select(f =>
                (IReadOnlyList<string>)
                    [
                        f.Ranking,
                        string.Create(CultureInfo.InvariantCulture, $"{f.Result.Auc.Value:0.000}"),
                        string.Create(CultureInfo.InvariantCulture, $"{f.Result.Auc.Lower:0.000}"),
                        string.Create(CultureInfo.InvariantCulture, $"{f.Result.Auc.Upper:0.000}"),
                        string.Create(CultureInfo.InvariantCulture, $"{f.Result.RecallAt(0.1):0%}"),
                        string.Create(CultureInfo.InvariantCulture, $"{f.Result.RecallAt(0.2):0%}"),
                    ]
            ),
        ];
}
