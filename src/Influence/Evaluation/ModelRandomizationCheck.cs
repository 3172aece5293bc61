namespace Influence.Evaluation;

/// <summary>
/// A sanity check: scores of the trained model beside scores of the same model with weights drawn anew. A method that explains
/// the model gives another order then; one whose order hardly changes reads the data alone.
/// </summary>
/// <remarks>
/// Adebayo et al., 2018, for saliency; Hanawa et al., 2021, for training data. The figure is <see cref="RankAgreement"/>'s:
/// near 0 is expected.
/// </remarks>
public sealed record ModelRandomizationCheck
{
    /// <summary>How intervals are made: over queries.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Compares two sets of scores, joined by id.</summary>
    /// <param name="trained">Scores of the trained model.</param>
    /// <param name="randomized">Scores by the same method of the model with random weights; of the same queries and training
    /// examples.</param>
    /// <returns>The correlation query by query, and its mean.</returns>
    /// <exception cref="InfluenceException">Ids that differ, or no query that can be compared.</exception>
    public RankAgreement.Result Evaluate(InfluenceScores trained, InfluenceScores randomized)
    {
        ArgumentNullException.ThrowIfNull(trained);
        return new RankAgreement { Bootstrap = Bootstrap }.Evaluate(
            trained,
            randomized,
            $"{trained.Metadata.Estimator} before and after the weights were drawn anew (near 0 expected)"
        );
    }
}
