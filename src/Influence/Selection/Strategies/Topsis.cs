using System.Text;

namespace Influence.Selection;

/// <summary>
/// TOPSIS: puts any number of metrics together by the distance to an ideal. Each row of scores is a metric x, divided by its
/// Euclidean norm and weighted: r_im = w_m x_im / sqrt(sum over i of x_im^2). The ideal has the best value of every metric,
/// the anti-ideal the worst; with d+ and d- a candidate's Euclidean distances to the two, the highest
/// <code>closeness = d- / (d+ + d-)</code>
/// are picked, best first. The utility of a pick is its closeness, from 0 to 1.
/// </summary>
/// <remarks>
/// <para>
/// <c>new SelectionPool([don, nod])</c> makes a pool of metrics; <see cref="Directions"/> and <see cref="Weights"/> are in
/// their order. A metric that is the same for all candidates moves nothing: it is left out, and a note names it; where all
/// are such, every closeness is 1/2. Closeness depends on the pool: other candidates change norms and ideals.
/// </para>
/// <para>
/// With the two metrics of DONOD, the fall of the weights' norm by a step on the example and the norm of that step, this is DONOD's
/// selection; which end of the former is the good one is told at <c>Donod</c>. Hu et al., "DONOD", 2025, arXiv 2504.14810. TOPSIS: Hwang,
/// Yoon, "Multiple Attribute Decision Making", 1981. Cost: two passes over the scores and a sort.
/// </para>
/// </remarks>
public sealed record Topsis : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "TOPSIS";

    /// <summary>Which end of each metric is the good one.</summary>
    /// <value>Null: the higher the better, for all.</value>
    public IReadOnlyList<Order>? Directions { get; init; }

    /// <summary>How much each metric counts; only their ratios matter.</summary>
    /// <value>Null: all alike.</value>
    /// <exception cref="InfluenceException">Numbers that are not finite or below 0, or all zero.</exception>
    public IReadOnlyList<double>? Weights
    {
        get;
        init =>
            field =
                value is null || (value.All(weight => double.IsFinite(weight) && weight >= 0) && value.Any(weight => weight > 0))
                    ? value
                    : throw new InfluenceException(
                        $"Weights are finite, not negative and not all zero; found {InfluenceException.List([.. value])}."
                    );
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        foreach (var problem in NeedsScores(pool))
        {
            yield return problem;
        }

        var metrics = pool.QueryIds.Count;
        if (pool.Scores is not null && Directions is not null && Directions.Count != metrics)
        {
            yield return $"The pool has {metrics} metrics, but Directions has {Directions.Count}: write one for each row of scores, in "
                + "their order.";
        }

        if (pool.Scores is not null && Weights is not null && Weights.Count != metrics)
        {
            yield return $"The pool has {metrics} metrics, but Weights has {Weights.Count}: write one for each row of scores, in their "
                + "order.";
        }
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var (toIdeal, toAntiIdeal) = (new double[pool.Count], new double[pool.Count]);
        var constant = new List<long>();
        for (var m = 0; m < pool.QueryIds.Count; m++)
        {
            var x = Relevance.Row(pool, m);
            var (lowest, highest) = (x.Min(), x.Max());
            if (lowest == highest)
            {
                constant.Add(pool.QueryIds[m]);
                continue;
            }

            // Scaled by the largest entry, so that no square overflows.
            var scale = Math.Max(Math.Abs(lowest), Math.Abs(highest));
            var factor = (Weights?[m] ?? 1) / (scale * Math.Sqrt(x.Sum(value => value / scale * (value / scale))));
            var (ideal, antiIdeal) = Directions?[m] == Order.Lower ? (lowest, highest) : (highest, lowest);
            for (var i = 0; i < x.Length; i++)
            {
                var (above, below) = ((x[i] - ideal) * factor, (x[i] - antiIdeal) * factor);
                toIdeal[i] += above * above;
                toAntiIdeal[i] += below * below;
            }
        }

        if (constant.Count > 0)
        {
            run.Note($"Left out, because they are the same for all candidates: metrics {InfluenceException.List(constant)}.");
        }

        var closeness = new double[pool.Count];
        for (var i = 0; i < closeness.Length; i++)
        {
            var (plus, minus) = (Math.Sqrt(toIdeal[i]), Math.Sqrt(toAntiIdeal[i]));
            closeness[i] = plus + minus == 0 ? 0.5 : minus / (plus + minus);
        }

        picks.AddInOrder(Relevance.Descending(closeness), closeness);
    }

    /// <inheritdoc/>
    protected override bool PrintMembers(StringBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        base.PrintMembers(builder);
        builder
            .Append(", Directions = ")
            .Append(Directions is null ? "all Higher" : string.Join(", ", Directions))
            .Append(", Weights = ")
            .Append(Weights is null ? "all alike" : string.Join(", ", Weights));
        return true;
    }

    /// <summary>Which end of a metric is the good one.</summary>
    public enum Order
    {
        /// <summary>The higher the better.</summary>
        Higher,

        /// <summary>The lower the better.</summary>
        Lower,
    }
}
