using System.Globalization;
using MathNet.Numerics.Statistics;

namespace Influence.Selection;

/// <summary>
/// CLEAR: instruction data whose answers a language model is not confident in is left out, and an answer of its own takes a given one's
/// place where it is confidently better. The confidences come from outside; <see cref="Confidence"/> makes them of sampled answers.
/// <code>
/// replaced  where better_i above <see cref="Preference"/>
/// kept      otherwise, where confidence_i is <see cref="Threshold"/> or more, by default the median
/// dropped   otherwise
/// </code>
/// </summary>
/// <remarks>
/// The same model may be the one that is fine-tuned: first filter, fine-tune on what is kept, let it answer the prompts, have the two
/// answers compared, and filter again with the comparison. With the median half of the data goes, whatever its quality, as in the paper's
/// experiments: write a threshold where you know better. That a candidate needs a confidence of 0.8 could not be checked against the paper:
/// take it for a setting. Chen, Mueller, "Automated Data Curation for Robust Language Model Fine-Tuning", 2024 (arXiv 2403.12776).
/// </remarks>
/// <example>
/// <code>
/// var outcome = new ConfidenceFilter().Apply(confidence, better);
/// var data = train.Only(outcome.Kept);
/// </code>
/// </example>
public sealed record ConfidenceFilter
{
    /// <summary>gamma: the least confidence of an answer that is kept.</summary>
    /// <value>Null: the median of all confidences.</value>
    /// <exception cref="InfluenceException">Not in 0 to 1.</exception>
    public double? Threshold
    {
        get;
        init => field = value is { } given ? Check.Between(given, 0.0, 1.0) : null;
    }

    /// <summary>eta: a candidate takes the answer's place where the confidence that it is better is above this.</summary>
    /// <value>0.8.</value>
    /// <exception cref="InfluenceException">Not in 0 to 1.</exception>
    public double Preference
    {
        get;
        init => field = Check.Between(value, 0.0, 1.0);
    } = 0.8;

    /// <summary>
    /// BSDetector's confidence in an answer: how well the model's own answers to the same prompt agree with it, and what the model says of
    /// it when it is asked,
    /// <code>C = b mean over answers of (a agreement + (1 - a) [same]) + (1 - b) mean reflection</code>
    /// </summary>
    /// <param name="answers">Answers that the model gave at a high temperature: how far each does not contradict the given one, 0 to 1 (of
    /// a model of entailment), and whether it is the same. At least one.</param>
    /// <param name="reflections">The model's own verdicts on the given answer, 1 for right, 0.5 for unsure and 0 for wrong. At least
    /// one.</param>
    /// <param name="agreementShare">a, 0 to 1.</param>
    /// <param name="consistencyShare">b, 0 to 1.</param>
    /// <returns>The confidence, 0 to 1.</returns>
    /// <remarks>Chen, Mueller, "Quantifying Uncertainty in Answers from any Language Model", 2023 (arXiv 2308.16175). The weights are those
    /// under which it is implemented elsewhere too (UQLM's scorer of that name: 0.7 of consistency, 0.8 of that for what does not
    /// contradict).</remarks>
    /// <exception cref="InfluenceException">None, or numbers outside 0 to 1.</exception>
    public static double Confidence(
        IReadOnlyList<(double Agreement, bool Same)> answers,
        IReadOnlyList<double> reflections,
        double agreementShare = 0.8,
        double consistencyShare = 0.7
    )
    {
        ArgumentNullException.ThrowIfNull(answers);
        ArgumentNullException.ThrowIfNull(reflections);
        Check.Between(agreementShare, 0.0, 1.0, nameof(agreementShare));
        Check.Between(consistencyShare, 0.0, 1.0, nameof(consistencyShare));
        if (
            answers.Count == 0
            || reflections.Count == 0
            || answers.Select(answer => answer.Agreement).Concat(reflections).Any(value => !(value >= 0 && value <= 1))
        )
        {
            throw new InfluenceException(
                "A confidence is made of at least one answer and one reflection, all from 0 to 1; found "
                    + $"{answers.Count} answers and {reflections.Count} reflections."
            );
        }

        var consistency = answers.Average(answer => (agreementShare * answer.Agreement) + (answer.Same ? 1 - agreementShare : 0));
        return (consistencyShare * consistency) + ((1 - consistencyShare) * reflections.Average());
    }

    /// <summary>Says what is kept, what is replaced and what is dropped.</summary>
    /// <param name="confidence">The confidence in each example's answer, 0 to 1.</param>
    /// <param name="better">The confidence that a candidate answer is better than the given one, 0 to 1, for those examples that have a
    /// candidate; null: nothing is replaced.</param>
    /// <returns>The outcome.</returns>
    /// <exception cref="InfluenceException">No examples, confidences outside 0 to 1, or candidates of examples that there are
    /// not.</exception>
    public Outcome Apply(ExampleScores confidence, ExampleScores? better = null)
    {
        ArgumentNullException.ThrowIfNull(confidence);
        if (confidence.Count == 0)
        {
            throw new InfluenceException("There are no confidences to filter by.");
        }

        Refuse(confidence, "Confidences");
        var candidates = new Dictionary<long, double>();
        if (better is not null)
        {
            Refuse(better, "Confidences that a candidate is better");
            if (better.Ids.Except(confidence.Ids).ToList() is { Count: > 0 } unknown)
            {
                throw new InfluenceException($"These candidates belong to no example: ids {InfluenceException.List(unknown)}.");
            }

            candidates = better.Ids.Zip(better.Values).ToDictionary(pair => pair.First, pair => pair.Second);
        }

        var threshold = Threshold ?? confidence.Values.Median();
        var (kept, replaced, dropped) = (new List<long>(), new List<long>(), new List<long>());
        foreach (var (id, value) in confidence.Ids.Zip(confidence.Values))
        {
            (
                candidates.TryGetValue(id, out var chance) && chance > Preference ? replaced
                : value >= threshold ? kept
                : dropped
            ).Add(id);
        }

        return new Outcome(kept, replaced, dropped, threshold);
    }

    private static void Refuse(ExampleScores scores, string what)
    {
        List<long> wrong = [.. scores.Ids.Where((_, i) => !(scores[i] >= 0 && scores[i] <= 1))];
        if (wrong.Count > 0)
        {
            throw new InfluenceException(
                $"{what} lie between 0 and 1; those of these examples do not: ids {InfluenceException.List(wrong)}."
            )
            {
                ExampleIds = wrong,
            };
        }
    }

    /// <summary>What becomes of each example, in the order of the confidences.</summary>
    /// <param name="Kept">Ids whose answer stays.</param>
    /// <param name="Replaced">Ids whose candidate takes the answer's place.</param>
    /// <param name="Dropped">Ids that are left out.</param>
    /// <param name="Threshold">The least confidence that was kept: the setting, or the median.</param>
    public sealed record Outcome(IReadOnlyList<long> Kept, IReadOnlyList<long> Replaced, IReadOnlyList<long> Dropped, double Threshold)
    {
        /// <summary>One line.</summary>
        /// <returns>The counts and the threshold.</returns>
        public override string ToString() =>
            string.Create(
                CultureInfo.InvariantCulture,
                $"{Kept.Count} kept, {Replaced.Count} replaced, {Dropped.Count} dropped; threshold {Threshold:0.###}"
            );
    }
}
