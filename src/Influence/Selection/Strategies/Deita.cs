using System.Globalization;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Selection;

/// <summary>
/// DEITA: good examples that are not like one another. The scores' rows are multiplied to one score a candidate, complexity
/// times quality; from the highest score down, a candidate is picked unless its cosine similarity to one that was picked
/// before is above <see cref="MaximumSimilarity"/>.
/// </summary>
/// <remarks>
/// <para>
/// <c>new SelectionPool([complexity, quality]) { Features = embeddings }</c> makes such a pool; with a single row its score is
/// taken as it is, whatever its sign. The first candidate is always picked. A candidate with a zero embedding is like no
/// other. Where everything that is left is too similar, fewer are picked than the budget allows, and a note says so.
/// </para>
/// <para>
/// The utility of a pick is its score. Cost: at most N k d multiplications for k picks, in blocks; memory for k rows of
/// features beside the pool. Reference: Liu, Zeng, He, Jiang, He, "What Makes Good Data for Alignment?", ICLR 2024, sections
/// 3.2 and 3.3 and algorithm 1; its code calls the limit a threshold of distance, but it is the cosine similarity.
/// </para>
/// </remarks>
public sealed record Deita : SelectionStrategy
{
    private const int Block = 1024;

    /// <inheritdoc/>
    public override string Name => "DEITA";

    /// <summary>The highest cosine similarity to a picked candidate. 1 lets everything pass: top-k.</summary>
    /// <value>0.9.</value>
    /// <exception cref="InfluenceException">Outside of -1 to 1.</exception>
    public double MaximumSimilarity
    {
        get;
        init => field = Check.Between(value, -1.0, 1.0);
    } = 0.9;

    /// <inheritdoc/>
    protected override bool MayPickFewer => true;

    /// <inheritdoc/>
    protected override IEnumerable<string> Problems(SelectionPool pool, SelectionBudget budget)
    {
        ArgumentNullException.ThrowIfNull(pool);
        return [.. NeedsScores(pool), .. NeedsFeatures(pool), .. NegativeScores(pool)];
    }

    /// <inheritdoc/>
    protected override void Pick(SelectionPool pool, Picks picks, Run run)
    {
        ArgumentNullException.ThrowIfNull(pool);
        ArgumentNullException.ThrowIfNull(picks);
        ArgumentNullException.ThrowIfNull(run);
        var score = Product(pool);
        var order = Relevance.Descending(score);
        if (MaximumSimilarity == 1)
        {
            // Rounding puts the cosine of two equal vectors a little above 1 at times.
            picks.AddInOrder(order, score);
            return;
        }

        using var scope = NewDisposeScope();
        var picked = new List<Tensor>();
        var tooSimilar = 0;
        for (var start = 0; start < order.Length && !picks.Full; start += Block)
        {
            var block = order[start..Math.Min(start + Block, order.Length)];
            var (rows, dropped) = PickFrom(pool, picks, block, score, picked);
            tooSimilar += dropped;
            if (rows is not null)
            {
                Append(picked, rows);
            }

            run.Report(start, order.Length);
        }

        run.Note(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{tooSimilar:N0} candidates were passed over, because their similarity to a better one is above "
                    + $"{MaximumSimilarity:0.####}."
            )
        );
    }

    /// <summary>Picks from one block; gives the features of what it picked, in the caller's scope, and how many were too similar.</summary>
    private (Tensor? Rows, int TooSimilar) PickFrom(SelectionPool pool, Picks picks, int[] block, double[] score, List<Tensor> picked)
    {
        using var scope = NewDisposeScope();
        var features = Normalized(pool.Features!, block); // [B, d]
        var nearest = full([block.Length], Kept(double.NegativeInfinity), features.dtype, features.device); // [B]
        foreach (var rows in picked)
        {
            using var part = NewDisposeScope();
            nearest.copy_(maximum(nearest, features.mm(rows.t()).amax([1L]))); // [B, picked in a block] -> [B]
        }

        var similarity = nearest.to_type(ScalarType.Float64).cpu().data<double>().ToArray();
        var among = features.mm(features.t()).to_type(ScalarType.Float64).cpu().data<double>().ToArray(); // [B, B]
        var (chosen, tooSimilar) = (new List<int>(), 0);
        for (var i = 0; i < block.Length && !picks.Full; i++)
        {
            if (!picks.Fits(block[i]))
            {
                continue;
            }

            if (similarity[i] > MaximumSimilarity || chosen.Exists(c => among[(c * block.Length) + i] > MaximumSimilarity))
            {
                tooSimilar++;
                continue;
            }

            picks.Add(block[i], score[block[i]]);
            chosen.Add(i);
        }

        var kept =
            chosen.Count == 0 ? null : features.index_select(0, tensor(chosen.Select(c => (long)c).ToArray(), device: features.device));
        return (kept?.MoveToOuterDisposeScope(), tooSimilar);
    }

    /// <summary>Few large products instead of many small ones: parts are joined until they have as many rows as a block.</summary>
    private static void Append(List<Tensor> picked, Tensor rows)
    {
        if (picked.Count == 0 || picked[^1].shape[0] >= Block)
        {
            picked.Add(rows);
            return;
        }

        var (last, joined) = (picked[^1], cat([picked[^1], rows], 0)); // [up to 2 B, d]
        picked[^1] = joined;
        last.Dispose();
        rows.Dispose();
    }

    private static Tensor Normalized(Tensor features, int[] positions)
    {
        using var scope = NewDisposeScope();
        var rows = features.index_select(0, tensor(positions.Select(p => (long)p).ToArray(), device: features.device)); // [B, d]
        // By the largest entry first: squares neither overflow nor vanish. Rows of zeros stay zero.
        var scaled = rows / Above(rows.abs().amax([1L], keepdim: true));
        return (scaled / Above(scaled.Squared().sum([1L], keepdim: true).sqrt())).MoveToOuterDisposeScope();
    }

    private static Tensor Above(Tensor norms) => where(norms > Kept(0), norms, ones_like(norms));

    private static double[] Product(SelectionPool pool)
    {
        var product = Relevance.Row(pool, 0);
        for (var q = 1; q < pool.QueryIds.Count; q++)
        {
            var row = Relevance.Row(pool, q);
            for (var i = 0; i < product.Length; i++)
            {
                product[i] *= row[i];
            }
        }

        return product;
    }

    /// <summary>Two bad scores would make a good product.</summary>
    private static string[] NegativeScores(SelectionPool pool)
    {
        if (pool.Scores is null || pool.QueryIds.Count < 2)
        {
            return [];
        }

        using var scope = NewDisposeScope();
        var bad = pool.Scores.lt(Kept(0)).any(0).nonzero().flatten().data<long>().ToArray();
        return bad.Length == 0
            ? []
            :
            [
                "DEITA multiplies the rows of scores, so none may be below 0; found such for "
                    + $"{InfluenceException.List([.. bad.Select(i => pool.Ids[(int)i])])}. Add a constant to the row.",
            ];
    }
}
