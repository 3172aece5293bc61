using Influence.Numerics;

namespace Influence.Mixtures;

/// <summary>
/// Domain weights from values of examples, such as in-run data values: a group whose examples lowered the validation
/// measurement more is drawn more from then on. One multiplicative step per call.
/// </summary>
/// <remarks>
/// <para>w_j proportional to w_j exp(eta W_j), W_j the mean value of the group's examples that have one (0 for a group of which none
/// was seen), then (1 - K floor) w_j + floor over K groups. It is the update of DoGE (Fan,
/// Pagliardini and Jaggi, 2024) with values that the run itself yields in place of gradient products of whole groups.</para>
/// <para>Give means of a step (<c>values.MeanScores()</c>), not sums over the run: these grow with how often a group was drawn, and the
/// mixture would feed on itself. Clear the values afterwards, so that the next update sees the model as it is then.</para>
/// </remarks>
/// <example>
/// <code>
/// if (steps % 100 == 0)
/// {
///     sampler.Mixture = new ValueMixture { Floor = 0.02 }.Update(values.MeanScores(), groups, sampler.Mixture);
///     values.Clear();
/// }
/// </code>
/// </example>
public sealed record ValueMixture
{
    /// <summary>eta, the step.</summary>
    /// <value>1.</value>
    public double LearningRate
    {
        get;
        init => field = Check.NotNegative(value);
    } = 1;

    /// <summary>
    /// Whether W is divided by its largest magnitude, so that the learning rate means the same whatever the size of the values:
    /// the best group's weight then gains a factor of at most exp(2 eta) on the worst's.
    /// </summary>
    /// <value>true.</value>
    public bool Normalized { get; init; } = true;

    /// <summary>The least weight of a group, so that none is dropped for good and each goes on being measured.</summary>
    /// <value>0.01; at most 1 over the number of groups.</value>
    public double Floor
    {
        get;
        init => field = Check.Share(value);
    } = 0.01;

    /// <summary>One step.</summary>
    /// <param name="values">Values of examples; positive: worth more training.</param>
    /// <param name="groups">The groups; where they overlap an example counts in each.</param>
    /// <param name="present">The mixture to step from; null for the uniform one.</param>
    /// <returns>The next mixture.</returns>
    /// <exception cref="InfluenceException">No value of any group's example, values that are not finite, a mixture of other groups, or a
    /// floor above 1 over their number.</exception>
    public Mixture Update(ExampleScores values, ExampleGroups groups, Mixture? present = null)
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(groups);
        var (names, count) = (groups.Names, groups.Names.Count);
        var bad = values.Ids.Where((_, i) => !double.IsFinite(values[i])).ToList();
        if (bad.Count > 0)
        {
            throw new InfluenceException(
                $"The values of the examples with ids {InfluenceException.List(bad)} are NaN or infinite; finite values are expected."
            )
            {
                ExampleIds = bad,
            };
        }

        if (Floor * count > 1)
        {
            throw new InfluenceException(
                $"A floor of {Floor} for each of {count} groups is more than 1 in all; write Floor = {0.5 / count:G2} or less."
            );
        }

        var of = values.Ids.Zip(values.Values).ToDictionary(pair => pair.First, pair => pair.Second);
        if (!groups.Ids.Any(of.ContainsKey))
        {
            throw new InfluenceException("None of the groups' examples has a value; are the values' ids those of the groups?");
        }

        double[] pull = [.. names.Select(name => groups[name].Where(of.ContainsKey).Select(id => of[id]).DefaultIfEmpty(0).Average())];
        var scale = Normalized && pull.Max(Math.Abs) is var largest and > 0 ? largest : 1;
        present ??= Mixture.Uniform(names);
        var next = Simplex.Tilted(present.WeightsOf(names, "the groups"), [.. pull.Select(w => LearningRate * w / scale)]);
        return Mixture.Normalized(names, [.. next.Select(w => ((1 - (count * Floor)) * w) + Floor)]);
    }
}
