using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Products of written-out query gradients with training gradients, position by position: s_t = sum over layers of
/// d_t' V a_t, which sum over t to the example's product.
/// </summary>
/// <param name="names">The blocks' names, for messages.</param>
internal sealed class PositionProducts(IReadOnlyList<string> names)
{
    /// <summary>The blocks that were left out so far, as their positions are not the examples' own: a head over a pooled text, a table of
    /// positions.</summary>
    public SortedSet<string> LeftOut { get; } = new(StringComparer.Ordinal);

    /// <summary>The products of a batch, <c>[Q, B, T]</c>, in the current scope.</summary>
    /// <param name="queries">Per block one part a parameter, <c>[Q, P_k]</c>; null where the queries do not reach the block.</param>
    /// <param name="train">Training examples.</param>
    public Tensor Of(IReadOnlyList<Tensor[]?> queries, BatchGradients train)
    {
        FindLeftOut(queries, train);
        using var outer = NewDisposeScope();
        Tensor? total = null;
        for (var k = 0; k < queries.Count; k++)
        {
            if (queries[k] is { } parts && train.Blocks[k] is { } block && !LeftOut.Contains(names[k]))
            {
                using var scope = NewDisposeScope();
                var products = block.ByPosition(parts);
                if (total is null)
                {
                    total = products.MoveToOuterDisposeScope();
                }
                else
                {
                    total.add_(products);
                }

                block.Release();
            }
        }

        return total?.MoveToOuterDisposeScope() ?? throw new InfluenceException("Queries and training examples reach no layer in common.");
    }

    private void FindLeftOut(IReadOnlyList<Tensor[]?> queries, BatchGradients train)
    {
        var found = train
            .Blocks.Select((block, k) => (Name: names[k], Block: block, Queries: queries[k]))
            .Where(b => b.Block is not null && b.Queries is not null)
            .ToList();
        var positions = found.Max(b => b.Block!.OwnPositions);
        LeftOut.UnionWith(found.Where(b => b.Block!.OwnPositions is null || b.Block.OwnPositions != positions).Select(b => b.Name));
        if (found.TrueForAll(b => LeftOut.Contains(b.Name)))
        {
            throw new InfluenceException(
                "Scores per position need a layer whose positions are the examples' own; these are not: "
                    + $"{InfluenceException.List(LeftOut)}. A layer that is called twice in an example, or that has no position of its "
                    + "own, has none."
            );
        }
    }
}
