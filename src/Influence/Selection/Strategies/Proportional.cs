using System.Globalization;

namespace Influence.Selection;

/// <summary>
/// Sampling without replacement that favours high scores: Gumbel-top-k. Each candidate gets the key
/// <code>s_i / tau + G_i,   G_i = -ln(-ln U_i),   U_i uniform in (0, 1)</code>
/// and the highest keys are picked. The first pick is then distributed as softmax(s / tau), and every later one as the
/// softmax over what is left.
/// </summary>
/// <remarks>
/// <para>
/// <see cref="Temperature"/> has the unit of the scores: towards 0 it is top-k, towards infinity uniform. Raw influence
/// scores are often of the order of 1e-3 or less; with <see cref="Standardize"/> they are first divided by their standard
/// deviation, and the temperature is then a number of standard deviations. Constant scores give a uniform sample.
/// </para>
/// <para>
/// The utility of a pick is its key. Numbers are keyed by id: adding candidates does not change the keys of the others
/// (unless the standard deviation changes). Cost: one sort. Reference: Kool, van Hoof, Welling, "Stochastic Beams and Where
/// to Find Them", ICML 2019; MATES (Yu, Das, Xiong, NeurIPS 2024) selects so with a temperature of 0.5. MATES' code keeps the
/// smallest of (loss / tau + Gumbel), which is not that distribution; this is the paper's.
/// </para>
/// </remarks>
public sealed record Proportional : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "proportional (Gumbel-top-k)";

    /// <summary>tau.</summary>
    /// <value>1.</value>
    /// <exception cref="InfluenceException">Not above 0, or not finite.</exception>
    public double Temperature
    {
        get;
        init =>
            field =
                value > 0 && double.IsFinite(value)
                    ? value
                    : throw new InfluenceException(
                        $"Temperature is a finite number above 0, not {value.ToString(CultureInfo.InvariantCulture)}. For no "
                            + "randomness take TopK, for nothing else RandomSelection."
                    );
    } = 1;

    /// <summary>Whether scores are divided by their standard deviation first.</summary>
    /// <value>False: the temperature has the scores' unit.</value>
    public bool Standardize { get; init; }

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsScores(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var keys = Relevance.Of(pool, Aggregation);
        var unit = Temperature * (Standardize ? Deviation(keys) : 1);
        for (var i = 0; i < keys.Length; i++)
        {
            keys[i] = (keys[i] / unit) - Math.Log(-Math.Log(run.Uniform("gumbel", i)));
        }

        picks.AddInOrder(Relevance.Descending(keys), keys);
    }

    /// <summary>The population's standard deviation; 1 where all values are equal.</summary>
    private static double Deviation(double[] values)
    {
        if (values.Max() == values.Min())
        {
            return 1;
        }

        var mean = values.Average();
        return Math.Sqrt(values.Average(value => (value - mean) * (value - mean)));
    }
}
