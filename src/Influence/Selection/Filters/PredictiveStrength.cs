namespace Influence.Selection;

/// <summary>
/// PreSelect's predictive strength of a document: how well its loss orders models that are known to be worse and better,
/// <c>#{i below j : loss_i(d) above loss_j(d)} / (M (M - 1) / 2)</c> over models 1 to M from the worst to the best. 1 = the better the
/// model, the lower the loss; ties count 0.
/// </summary>
/// <remarks>Shum et al., "Predictive Data Selection: The Data That Predicts Is the Data That Teaches", ICML 2025, with six models and
/// losses in bits a character.</remarks>
public static class PredictiveStrength
{
    /// <summary>Scores documents.</summary>
    /// <param name="losses">The losses under M models, at least two, from the worst model to the best by a benchmark; of the same documents
    /// in any order.</param>
    /// <returns>One score a document, 0 to 1, in the order of the first.</returns>
    /// <exception cref="InfluenceException">Fewer than two models, other documents, or losses that are no numbers.</exception>
    public static ExampleScores Of(params IReadOnlyList<ExampleScores> losses)
    {
        ArgumentNullException.ThrowIfNull(losses);
        if (losses.Count < 2)
        {
            throw new InfluenceException(
                $"Losses under at least two models are expected, from the worst to the best; found {losses.Count}."
            );
        }

        var rows = Indicators.Rows(losses, "Losses under each model");
        return ExampleScores.Of(
            losses[0].Ids,
            [
                .. rows.Select(row =>
                {
                    var ordered = 0;
                    for (var j = 1; j < row.Length; j++)
                    {
                        ordered += row[..j].Count(worse => worse > row[j]);
                    }

                    return 2.0 * ordered / (row.Length * (row.Length - 1));
                }),
            ],
            $"Predictive strength over {losses.Count} models"
        );
    }
}
