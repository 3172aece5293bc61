using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// Maximal marginal relevance: each pick is argmax lambda r_i - (1 - lambda) max over picks of cos(i, pick): relevant, and unlike what was
/// picked. The first is the most relevant one.
/// </summary>
/// <remarks>
/// Cost: at most k N d multiply-adds; memory: a number a candidate and blocks of 64 MiB. Only the nearest pick counts, so the picks
/// need not cover the pool. Carbonell and Goldstein, SIGIR 1998.
/// </remarks>
public sealed record Mmr : SelectionStrategy
{
    /// <inheritdoc/>
    public override string Name => "MMR";

    /// <summary>1: relevance alone; 0: unlikeness alone.</summary>
    /// <value>0.5.</value>
    /// <exception cref="InfluenceException">Not from 0 to 1.</exception>
    public double Lambda
    {
        get;
        init => field = Check.Share(value);
    } = 0.5;

    /// <summary>How several queries' scores become one.</summary>
    /// <value><see cref="ScoreAggregation.Mean"/>.</value>
    public ScoreAggregation Aggregation { get; init; }

    /// <summary>The scale of r.</summary>
    /// <value><see cref="RelevanceScale.Rank"/>.</value>
    public RelevanceScale Scale { get; init; }

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget) =>
        [.. NeedsScores(pool), .. NeedsFeatures(pool)];

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var points = FeatureBlocks.Normalised(pool.Features!); // [N, d]
        var relevance = ScaledRelevance.Of(pool, Aggregation, Scale);
        var first = Array.Find(Relevance.Descending(relevance), picks.Fits);
        var weighted = tensor(relevance, dtype: points.dtype, device: points.device) * Kept(Lambda); // [N]
        var start = full_like(weighted, Kept(double.PositiveInfinity));
        picks.Add(first, Lambda * relevance[first]);
        new FallingValues(points, weighted, Values).Run(start, first, double.NegativeInfinity, picks, value => value, run);
    }

    private Tensor Values(Tensor points, Tensor weighted, Tensor picks, Tensor theirs)
    {
        using var scope = NewDisposeScope();
        return (weighted - (points.mm(picks.t()).amax([1L]) * Kept(1 - Lambda))).MoveToOuterDisposeScope(); // [n]
    }
}
