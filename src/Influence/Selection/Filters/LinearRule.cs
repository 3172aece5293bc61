using System.Globalization;

namespace Influence.Selection;

/// <summary>A linear rule over indicators that were measured elsewhere: <c>score = intercept + sum of weight_k indicator_k</c>.
/// <see cref="InstructMining"/> is one.</summary>
public sealed record LinearRule
{
    /// <summary>What the rule gives, in a few words.</summary>
    /// <value>"Linear rule".</value>
    public string Title { get; init; } = "Linear rule";

    /// <summary>The constant.</summary>
    /// <value>0.</value>
    /// <exception cref="InfluenceException">Not finite.</exception>
    public double Intercept
    {
        get;
        init => field = Check.Finite(value);
    }

    /// <summary>The indicators' names and weights.</summary>
    /// <exception cref="InfluenceException">None, a name twice, or a weight that is not finite.</exception>
    public required IReadOnlyList<(string Name, double Weight)> Weights
    {
        get;
        init =>
            field = Check.List(
                value,
                w => w.Count > 0 && w.All(p => double.IsFinite(p.Weight)) && w.Select(p => p.Name).Distinct().Count() == w.Count,
                "are finite, one for each name: Weights = [(\"reward\", 0.0078)]"
            );
    }

    /// <summary>
    /// InstructMining's rule (Cao et al., COLM 2024), which predicts the logarithm of the evaluation loss after fine-tuning from a reward
    /// model's score, and from UniEval's understandability, naturalness and coherence: <c>0.0274 - 0.0078 reward + 0.4421 understandability
    /// - 0.3212 naturalness - 0.1520 coherence</c>. Low = better.
    /// </summary>
    /// <remarks>
    /// Fitted to means over data sets, R^2 0.52; another version that circulates has a term in length, so the weight of understandability
    /// is doubtful. Fit your own where you can.
    /// </remarks>
    public static LinearRule InstructMining { get; } =
        new()
        {
            Title = "InstructMining, predicted log loss (low = better)",
            Intercept = 0.0274,
            Weights = [("reward", -0.0078), ("understandability", 0.4421), ("naturalness", -0.3212), ("coherence", -0.1520)],
        };

    /// <summary>Scores examples.</summary>
    /// <param name="indicators">Each indicator of <see cref="Weights"/> once, by its name, of the same examples in any order.</param>
    /// <returns>One score an example, in the order of the first.</returns>
    /// <exception cref="InfluenceException">Names that are missing or too many, other examples, or indicators that are no
    /// numbers.</exception>
    public ExampleScores Score(params IReadOnlyList<(string Name, ExampleScores Values)> indicators)
    {
        ArgumentNullException.ThrowIfNull(indicators);
        string[] expected = [.. Weights.Select(w => w.Name)];
        if (!indicators.Select(i => i.Name).Order(StringComparer.Ordinal).SequenceEqual(expected.Order(StringComparer.Ordinal)))
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{Title} takes {string.Join(", ", expected)}, each once; found "
                        + $"{string.Join(", ", indicators.Select(i => i.Name))}."
                )
            );
        }

        var weights = indicators.Select(i => Weights.Single(w => w.Name == i.Name).Weight).ToArray();
        var columns = indicators.Select(i => i.Values).ToList();
        return ExampleScores.Of(
            columns[0].Ids,
            [
                .. Indicators
                    .Rows(columns, "Indicators")
                    .Select(row => Intercept + row.Zip(weights, (value, weight) => value * weight).Sum()),
            ],
            Title
        );
    }
}
