using System.Globalization;
using Influence.Display;

namespace Influence.Training;

/// <summary>
/// A data map: each example by how confident the model was of its label over the run, and how much that changed (Swayamdipta
/// et al., Dataset Cartography, 2020). <see cref="DataMap"/> draws it.
/// </summary>
/// <remarks>Easy examples have a high confidence and then a low variability, hard ones a low confidence and a low variability; ambiguous
/// ones a high variability.</remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed partial class Cartography : IDisplay
{
    private readonly ScoreMetadata _metadata;

    internal Cartography(IReadOnlyList<Point> points, ScoreMetadata metadata) => (Points, _metadata) = (points, metadata);

    /// <summary>The examples, in the order of their ids.</summary>
    public IReadOnlyList<Point> Points { get; }

    /// <summary>The mean probability of the label, 0 to 1.</summary>
    public ExampleScores Confidence => Scores("Confidence", p => p.Confidence, "high = easy to learn", "probability");

    /// <summary>The standard deviation of the label's probability (of the population: divided by the number of presentations), 0 to
    /// 0.5.</summary>
    public ExampleScores Variability => Scores("Variability", p => p.Variability, "high = ambiguous", "probability");

    /// <summary>At how many presentations the prediction was correct, as the paper's code counts.</summary>
    public ExampleScores Correctness => Scores("Correctness", p => p.Correct, "high = easy to learn", "presentations");

    /// <summary>At which share of the presentations the prediction was correct, as the paper defines it, 0 to 1.</summary>
    public ExampleScores CorrectFraction => Scores("Correct fraction", p => p.CorrectFraction, "high = easy to learn", "share");

    /// <summary>Threshold closeness c (1 - c) of the correct fraction c, 0 to 0.25.</summary>
    public ExampleScores ThresholdCloseness =>
        Scores("Threshold closeness", p => p.ThresholdCloseness, "high = between right and wrong", "share squared");

    /// <summary>
    /// A region of the map by the paper's rule: the share of the examples with the highest variability (ambiguous), the lowest
    /// confidence (hard) or the highest confidence, at equal confidence the lowest variability first (easy).
    /// </summary>
    /// <param name="region">Which.</param>
    /// <param name="share">The share of all examples, rounded down, at least one example. Regions of large shares overlap.</param>
    /// <returns>Its examples, the most typical first.</returns>
    /// <exception cref="InfluenceException">A share not above 0, or above 1.</exception>
    public Result Region(Kind region, double share = 0.33)
    {
        if (share is not (> 0 and <= 1))
        {
            throw new InfluenceException($"A share is above 0 and at most 1; found {share.ToString(CultureInfo.InvariantCulture)}.");
        }

        // A share such as 0.29 of 100 is 28.999...: the example that it means is not lost to rounding.
        return Top(region, Math.Max(1, (int)Math.Floor((share * Points.Count) + 1e-9)));
    }

    /// <summary>The examples with the lowest confidence.</summary>
    /// <param name="k">How many; at most as many as there are.</param>
    /// <returns>The ranking; ties go to the lowest id.</returns>
    /// <exception cref="InfluenceException">A negative number.</exception>
    public Result Hardest(int k = 20) => Top(Kind.HardToLearn, k);

    /// <summary>The examples with the highest variability.</summary>
    /// <param name="k">How many; at most as many as there are.</param>
    /// <returns>The ranking; ties go to the lowest id.</returns>
    /// <exception cref="InfluenceException">A negative number.</exception>
    public Result MostAmbiguous(int k = 20) => Top(Kind.Ambiguous, k);

    /// <summary>A table of the three regions.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            string.Create(CultureInfo.InvariantCulture, $"Data map of {Points.Count:N0} examples: {_metadata.Notes}"),
            ["region (33%)", "examples", "confidence", "variability", "correct"],
            [
                Row("easy to learn", Region(Kind.EasyToLearn)),
                Row("ambiguous", Region(Kind.Ambiguous)),
                Row("hard to learn", Region(Kind.HardToLearn)),
                Row("all", Points),
            ]
        );

    private static IReadOnlyList<object> Row(string name, IReadOnlyList<Point> points) =>
        [name, points.Count, points.Average(p => p.Confidence), points.Average(p => p.Variability), points.Average(p => p.CorrectFraction)];

    private Result Top(Kind region, int k)
    {
        if (k < 0)
        {
            throw new InfluenceException($"The number of examples to rank is at least 0, not {k}.");
        }

        IEnumerable<Point> order = region switch
        {
            Kind.EasyToLearn => Points.OrderByDescending(p => p.Confidence).ThenBy(p => p.Variability),
            Kind.HardToLearn => Points.OrderBy(p => p.Confidence),
            _ => Points.OrderByDescending(p => p.Variability),
        };
        return new Result(region, [.. order.Take(k)]);
    }

    private ExampleScores Scores(string title, Func<Point, double> score, string sign, string unit) =>
        new(
            title,
            [.. Points.Select(p => p.Id)],
            [.. Points.Select(score)],
            _metadata with
            {
                Estimator = $"{title}, {_metadata.Estimator}",
                Sign = sign,
                Unit = unit,
            }
        );
}
