namespace Influence.Gradients;

/// <summary>How the products of query and training gradients of one block are formed.</summary>
internal enum Contraction
{
    /// <summary>Over pairs of positions, (a_t . a_t')(d_t . d_t'); nothing of the parameters' size is built.</summary>
    Ghost,

    /// <summary>Queries and training examples written out, one matrix product.</summary>
    Dense,

    /// <summary>Queries written out, training examples as they are: with factors, sum over t of d_t' (G_q a_t).</summary>
    Factored,

    /// <summary>Embedding rows: written out for the rows that occur in the training batch only.</summary>
    Rows,

    /// <summary>In an eigenbasis, both sides as factors, written out a band of rows at a time.</summary>
    Spectral,
}

/// <summary>
/// Chooses the contraction of each block by counted operations and bytes (<see cref="ContractionCost"/>) within the memory
/// budget. The choice changes cost, never results beyond rounding.
/// </summary>
internal sealed class ContractionPlanner(long memoryBudget, int elementSize)
{
    /// <summary>
    /// One contraction per block for so many queries: the cheapest of each, unless the query gradients then need so many
    /// passes over the training data that the form with the least memory is cheaper.
    /// </summary>
    /// <param name="queryBlocks">What one batch of queries gave; shapes are read, nothing else.</param>
    /// <param name="trainBlocks">What one batch of training examples gave.</param>
    /// <param name="queries">The number of queries in all.</param>
    public Contraction[] Plan(IReadOnlyList<BlockGradients?> queryBlocks, IReadOnlyList<BlockGradients?> trainBlocks, long queries)
    {
        var cheapest = Each(leastMemory: false);
        var smallest = Each(leastMemory: true);
        return Cost(queryBlocks, trainBlocks, cheapest, queries) <= Cost(queryBlocks, trainBlocks, smallest, queries) ? cheapest : smallest;

        Contraction[] Each(bool leastMemory) =>
            [.. queryBlocks.Zip(trainBlocks, (query, train) => Choose(query ?? train, train ?? query, queries, leastMemory))];
    }

    /// <summary>How many queries can be kept at once; at least one.</summary>
    public long QueriesAtOnce(IReadOnlyList<BlockGradients?> blocks, Contraction[] plan, long queries) =>
        Math.Clamp((long)(memoryBudget / 2 / Math.Max(1.0, BytesPerQuery(blocks, plan))), 1, Math.Max(1, queries));

    /// <summary>How many numbers may be written out at once.</summary>
    public long NumbersAtOnce => Math.Max(1, memoryBudget / 8 / elementSize);

    /// <summary>Bytes that kept queries may take.</summary>
    public long QueryBytes => memoryBudget / 2;

    /// <summary>How many training examples may be captured at once, so that the largest block written out fits.</summary>
    public int ExamplesAtOnce(IReadOnlyList<BlockGradients?> blocks)
    {
        var largest = blocks.Select(block => block?.NumbersAtWork ?? 1).DefaultIfEmpty(1).Max();
        return (int)Math.Clamp(memoryBudget / 4 / (largest * elementSize), 1, int.MaxValue / 2);
    }

    /// <summary>How many rows of an embedding table may be written out at once for so many examples on both sides.</summary>
    public long RowsAtOnce(long examples, long width) =>
        Math.Max(1, (long)(memoryBudget / 8 / ((double)examples * width * elementSize * 2)));

    /// <summary>How many examples may wait to be joined, so many numbers each.</summary>
    /// <param name="numbersPerExample">What one takes.</param>
    /// <param name="enough">More would not help.</param>
    public long ExamplesToJoin(double numbersPerExample, long enough = JoinedBatches.Enough) =>
        (long)Math.Clamp(memoryBudget / 8 / (numbersPerExample * elementSize * 2), 1, enough);

    /// <summary>How many training examples a ghost product over positions may take at once.</summary>
    public long GhostExamplesAtOnce(long queries, long queryPositions, long positions) =>
        Math.Max(1, (long)(memoryBudget / 8 / ((double)queries * queryPositions * positions * elementSize * 2)));

    private static Contraction Choose(BlockGradients? query, BlockGradients? train, long queries, bool leastMemory)
    {
        if (query?.OwnContraction is { } own)
        {
            return own;
        }

        if (train?.Shape is not { Weight: true } f)
        {
            return train is null or { WritingIsCheaper: true } ? Contraction.Dense : Contraction.Factored;
        }

        var (t, i, o) = (f.Positions, f.Inputs, f.Outputs);
        var dense = ContractionCost.Dense(queries, t, i, o);
        var factored = ContractionCost.Factored(queries, t, i, o);
        if (query?.Shape is { } q)
        {
            var ghost = ContractionCost.Ghost(queries, q.Positions, t, i, o);
            if ((leastMemory && q.Positions * (i + o) < i * o) || ghost <= Math.Min(dense, factored))
            {
                return Contraction.Ghost;
            }
        }

        return dense <= factored ? Contraction.Dense : Contraction.Factored;
    }

    private double Cost(
        IReadOnlyList<BlockGradients?> queryBlocks,
        IReadOnlyList<BlockGradients?> trainBlocks,
        Contraction[] plan,
        long queries
    )
    {
        var passes = Math.Ceiling(queries / (double)QueriesAtOnce(queryBlocks, plan, queries));
        var cost = 0.0;
        for (var k = 0; k < plan.Length; k++)
        {
            if (trainBlocks[k]?.Shape is { } f)
            {
                var (t, i, o) = (f.Positions, f.Inputs, f.Outputs);

                // Every pass captures the training examples again: forward and backward, about 2 T I O.
                cost += passes * 2.0 * t * i * o;
                cost += plan[k] switch
                {
                    Contraction.Ghost => ContractionCost.Ghost(queries, queryBlocks[k]?.Shape?.Positions ?? t, t, i, o),
                    Contraction.Factored => ContractionCost.Factored(queries, t, i, o),
                    Contraction.Spectral => (double)queries * i * o,
                    _ => ContractionCost.Dense(queries, t, i, o) + ((passes - 1) * t * i * o),
                };
            }
        }

        return cost;
    }

    private double BytesPerQuery(IReadOnlyList<BlockGradients?> blocks, Contraction[] plan) =>
        elementSize * blocks.Zip(plan, (block, contraction) => block?.NumbersKept(contraction) ?? 0).Sum();
}
