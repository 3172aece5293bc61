using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// The greedy most probable set of a determinantal point process with L_ij = q_i q_j s_ij: each pick raises det L_S by the largest
/// factor d_i^2, which is its utility. q is relevance, or 1 where the pool has no scores.
/// </summary>
/// <remarks>
/// <para>
/// Once no candidate raises the determinant (d_i^2 below 1e-10 of the largest: the kernel's rank is reached), the rest of the budget
/// is filled by relevance, with utility 0 and a note. With the cosine kernel that is after d picks at the latest.
/// </para>
/// <para>
/// Cost: with the cosine kernel k N d multiply-adds, k at most d, and N d float64 numbers; with the Gaussian kernel N k^2 and N k float64
/// numbers, at most 2^27. Wrong for budgets far beyond the rank: use <see cref="RelevantAndDiverse"/> there. Chen, Zhang and Zhou, <i>Fast
/// greedy MAP inference for determinantal point process</i>, NeurIPS 2018.
/// </para>
/// </remarks>
public sealed record Dpp : SelectionStrategy
{
    private const double Vanished = 1e-10;
    private const long LargestTable = 1L << 27;

    /// <inheritdoc/>
    public override string Name => "DPP";

    /// <summary>s.</summary>
    /// <value>Cosine.</value>
    public Kind Kernel { get; init; }

    /// <summary>h of the Gaussian kernel.</summary>
    /// <value>Null: the median distance between candidates, of 1,000 at most.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double? Bandwidth
    {
        get;
        init => field = Check.Positive(value);
    }

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <summary>The scale of q; raw scores must not be negative.</summary>
    /// <value><see cref="RelevanceScale.Rank"/>.</value>
    public RelevanceScale Scale { get; init; }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(budget);
        foreach (var problem in NeedsFeatures(pool))
        {
            yield return problem;
        }

        if (Kernel == Kind.Gaussian && (budget.Examples(pool) ?? pool.Count) * (long)pool.Count > LargestTable)
        {
            yield return $"A DPP with a Gaussian kernel keeps picks x candidates numbers, at most {LargestTable:N0}: pick fewer, or from "
                + "a pool that another strategy has narrowed.";
        }

        if (Scale == RelevanceScale.Raw && pool.Scores is not null)
        {
            var negative = Relevance
                .Of(pool, Aggregation)
                .Index()
                .Where(score => score.Item < 0)
                .Select(score => pool.Ids[score.Index])
                .ToList();
            if (negative.Count > 0)
            {
                yield return $"Raw scores are the q of a DPP and must not be negative; these are: {InfluenceException.List(negative)}. "
                    + "Use RelevanceScale.Rank.";
            }
        }
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var relevance = ScaledRelevance.Of(pool, Aggregation, Scale);
        var unit = PowerOfTwo.Of(relevance.Max());
        var quality = tensor(relevance, device: pool.Features!.device) / Kept(unit); // [N]
        if (Kernel == Kind.Cosine)
        {
            // In float64 throughout: rows that are of unit length in float32 only seem to leave something beyond the rank.
            var rows = FeatureBlocks.Normalised(pool.Features, ScalarType.Float64).mul_(quality.unsqueeze(1)); // [N, d]
            using var columns = new LinearColumns(rows);
            Greedily(FeatureBlocks.SquaredNorms(rows), unit, columns, picks, run);
        }
        else
        {
            using var columns = new GaussianColumns(pool.Features, quality, Bandwidth, picks.Room);
            Greedily(quality.Squared(), unit, columns, picks, run);
        }

        if (picks.Full)
        {
            return;
        }

        run.Note($"The kernel's rank was reached after {picks.Count:N0} picks; the others are by relevance.");
        foreach (var position in Relevance.Descending(relevance).Where(picks.Fits))
        {
            if (picks.Fits(position))
            {
                picks.Add(position, 0);
            }
        }
    }

    /// <summary>d^2, the kernel's diagonal at first, loses the square of each new column of the Cholesky factor.</summary>
    private static void Greedily(Tensor squares, double unit, DppColumns columns, Picks picks, Run run)
    {
        var (total, smallest) = (picks.Room, Vanished * squares.max().item<double>());
        while (!picks.Full)
        {
            using var step = NewDisposeScope();
            var best = squares.argmax().item<long>();
            var square = squares[best].item<double>();
            if (square <= smallest)
            {
                return;
            }

            if (picks.Fits((int)best))
            {
                if (columns.Next((int)best, Math.Sqrt(square)) is not { } column)
                {
                    return;
                }

                picks.Add((int)best, square * unit * unit);
                run.Report(picks.Count, Math.Max(total, picks.Count));
                squares.sub_(column.Squared());
            }

            squares.select(0, best).fill_(Kept(double.NegativeInfinity));
        }
    }

    /// <summary>What <see cref="Dpp"/> takes for alike.</summary>
    public enum Kind
    {
        /// <summary>cos(x, y): of rank d, so that at most d candidates can be told apart.</summary>
        Cosine,

        /// <summary>exp(-|x - y|^2 / (2 h^2)): of full rank where points differ.</summary>
        Gaussian,
    }
}
