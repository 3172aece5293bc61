using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// BIDS: balances what a set of queries gets from the picks. Each query's scores are standardised over the candidates,
/// z = (A - mean) / deviation, and greedily, with T the picks so far,
/// <code>first: argmax_i max_j z_ij,   then: argmax_i max_j ( z_ij - 1/|T| sum over k in T of z_kj )</code>
/// is picked: the candidate that is furthest above what some query already gets on average.
/// </summary>
/// <remarks>
/// <para>
/// The columns are single queries, whatever <see cref="SelectionPool.Tasks"/> says. A query that scores all candidates alike
/// has no deviation: it is left out, and a note names it; where all queries are such, that is an error. The utility of a pick
/// is the number that was maximised, in standard deviations. Utilities may rise from pick to pick, so lazy greedy would be
/// wrong here. Heavy-tailed queries dominate the maximum even when standardised.
/// </para>
/// <para>
/// Exact, and cheap: for a query the mean of the picks is the same for every candidate, so its best candidate is the unpicked
/// one with the highest z, and the best of all is the best of these V. Cost: one pass over the scores for means, a few to
/// sort their heads, and O(V) a pick instead of O(N V). Reference: Dai et al., "Improving Influence-based Instruction Tuning
/// Data Selection for Balanced Learning of Diverse Capabilities", EMNLP Findings 2025, section 4.
/// </para>
/// </remarks>
public sealed record Bids : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "BIDS";

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) => NeedsScores(pool);

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">Every query scores all candidates alike.</exception>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var columns = Columns(pool, run);
        var total = picks.Room;
        var part = (4 * total / columns.Count) + 16;
        var heads = columns.ConvertAll(column => new BestFirst(() => column.Standardized(Relevance.Row(pool, column.Query)), picks, part));
        var sums = new double[columns.Count];
        while (!picks.Full)
        {
            var (utility, position) = Best(heads, sums, picks.Count);
            picks.Add(position, utility);
            AddScores(pool, columns, position, sums);
            if (picks.Count % 256 == 0)
            {
                run.Report(Math.Min(picks.Count, total), total);
            }
        }
    }

    private static (double Utility, int Position) Best(List<BestFirst> heads, double[] sums, int picked)
    {
        var best = (Utility: double.NegativeInfinity, Position: int.MaxValue);
        for (var j = 0; j < heads.Count; j++)
        {
            if (heads[j].Current is { } head)
            {
                var utility = head.Score - (picked == 0 ? 0 : sums[j] / picked);
                if (utility > best.Utility || (utility == best.Utility && head.Position < best.Position))
                {
                    best = (utility, head.Position);
                }
            }
        }

        return best;
    }

    private static void AddScores(SelectionPool pool, List<Column> columns, int position, double[] sums)
    {
        using var scope = NewDisposeScope();
        var scores = pool.Scores!.select(1, position).to_type(ScalarType.Float64).data<double>().ToArray(); // [Q]
        for (var j = 0; j < columns.Count; j++)
        {
            sums[j] += columns[j].Standardized(scores[columns[j].Query]);
        }
    }

    private static List<Column> Columns(SelectionPool pool, Run run)
    {
        var columns = new List<Column>();
        var constant = new List<long>();
        for (var q = 0; q < pool.QueryIds.Count; q++)
        {
            var scores = Relevance.Row(pool, q);
            if (scores.Max() == scores.Min())
            {
                constant.Add(pool.QueryIds[q]);
                continue;
            }

            // Near 1: squares of tiny or huge scores would leave the range of float64.
            var unit = PowerOfTwo.Of(Math.Max(Math.Abs(scores.Max()), Math.Abs(scores.Min())));
            var mean = scores.Average(score => score / unit);
            columns.Add(new(q, unit, mean, Math.Sqrt(scores.Average(score => ((score / unit) - mean) * ((score / unit) - mean)))));
            run.CancellationToken.ThrowIfCancellationRequested();
        }

        if (columns.Count == 0)
        {
            throw new InfluenceException(
                $"Every query scores all {pool.Count:N0} candidates alike, so BIDS cannot tell them apart. Check the scores, or take "
                    + "RandomSelection."
            );
        }

        if (constant.Count > 0)
        {
            run.Note($"Left out, because they score all candidates alike: queries {InfluenceException.List(constant)}.");
        }

        return columns;
    }

    private readonly record struct Column(int Query, double Unit, double Mean, double Deviation)
    {
        public double Standardized(double score) => ((score / Unit) - Mean) / Deviation;

        public double[] Standardized(double[] scores)
        {
            for (var i = 0; i < scores.Length; i++)
            {
                scores[i] = Standardized(scores[i]);
            }

            return scores;
        }
    }
}
