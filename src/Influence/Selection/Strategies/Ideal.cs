namespace Influence.Selection;

/// <summary>
/// IDEAL: the examples from which influence spreads furthest over the graph of nearest neighbours. Each candidate points to
/// its k nearest others v -> u with probability cos(v, u) / sum over u' of cos(v, u') (negative cosines count as 0); a
/// selected candidate activates others, and these theirs (independent cascade). Greedy on the expected number of active
/// candidates.
/// </summary>
/// <remarks>
/// The expectation is the mean over graphs whose live edges are drawn beforehand. On these graphs the objective is exactly
/// monotone and submodular, so that lazy greedy (CELF) gives what greedy gives: with a budget in examples at least 1 - 1/e of
/// the best, with one in tokens no such bound holds. The published code draws anew for each candidate, and counts a candidate
/// twice that is activated twice in a round; this does neither. A pick's utility is the number of candidates that it newly
/// activates. Cost: N^2 d for the graph, in blocks, then about N times the mean spread; fit for up to some 10^5 candidates.
/// It reads no scores: relevance does not count, and where most of the pool is of no use, neither is most of the answer.
/// Zhang et al., ICLR 2024.
/// </remarks>
public sealed record Ideal : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "IDEAL";

    /// <summary>k: how many neighbours a candidate points to.</summary>
    /// <value>10, as published.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Neighbours
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 10;

    /// <summary>How many graphs are drawn.</summary>
    /// <value>10, as published.</value>
    /// <exception cref="InfluenceException">Not in 1 to 64.</exception>
    public int Draws
    {
        get;
        init => field = Check.Between(value, 1, 64);
    } = 10;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsFeatures(pool);

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var neighbours = new CosineNeighbours(pool.Features!, Neighbours, (done, total) => run.Report(done, 2 * total));
        var purposes = Enumerable
            .Range(0, Draws)
            .Select(draw => Enumerable.Range(0, neighbours.Count).Select(rank => $"live edge {rank} of draw {draw}").ToArray())
            .ToArray();
        var graphs = new LiveEdgeGraphs(
            [.. Enumerable.Range(0, pool.Count).Select(i => Edges(neighbours, i))],
            Draws,
            (draw, rank, from) => run.Uniform(purposes[draw][rank], from)
        );

        // A gain only shrinks as the set grows: one that is still the highest after it was computed anew is the highest.
        var queue = new PriorityQueue<(int Position, int Computed), (double, int)>();
        for (var i = 0; i < pool.Count; i++)
        {
            queue.Enqueue((i, 0), (-graphs.Gain(i), i));
            if (i % 1000 == 0)
            {
                run.Report(pool.Count + i, 2L * pool.Count);
            }
        }

        while (!picks.Full && queue.TryDequeue(out var next, out var priority))
        {
            if (!picks.Fits(next.Position))
            {
                continue;
            }

            if (next.Computed == picks.Count || priority.Item1 == 0)
            {
                picks.Add(next.Position, graphs.Add(next.Position));
                run.CancellationToken.ThrowIfCancellationRequested();
            }
            else
            {
                queue.Enqueue((next.Position, picks.Count), (-graphs.Gain(next.Position), next.Position));
            }
        }
    }

    private static (int, double)[] Edges(CosineNeighbours neighbours, int position)
    {
        var similarities = neighbours.Similarities(position);
        var sum = 0.0;
        foreach (var similarity in similarities)
        {
            sum += Math.Max(0, similarity);
        }

        if (sum == 0)
        {
            return [];
        }

        var edges = new (int, double)[similarities.Length];
        for (var i = 0; i < edges.Length; i++)
        {
            edges[i] = ((int)neighbours.Of(position)[i], Math.Max(0, similarities[i]) / sum);
        }

        return edges;
    }
}
