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
    /// <summary>The products of a batch, <c>[Q, B, T]</c>, in the current scope.</summary>
    /// <param name="queries">Per block one part a parameter, <c>[Q, P_k]</c>; null where the queries do not reach the block.</param>
    /// <param name="train">Training examples.</param>
    public Tensor Of(IReadOnlyList<Tensor[]?> queries, BatchGradients train)
    {
        Check(train);
        using var outer = NewDisposeScope();
        Tensor? total = null;
        for (var k = 0; k < queries.Count; k++)
        {
            if (queries[k] is { } parts && train.Blocks[k] is { } block)
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

    private void Check(BatchGradients train)
    {
        var found = train.Blocks.Select((block, k) => (Name: names[k], Block: block)).Where(b => b.Block is not null).ToList();
        var positions = found.Max(b => b.Block!.OwnPositions);
        var odd = found.Where(b => b.Block!.OwnPositions is null || b.Block.OwnPositions != positions).Select(b => b.Name).ToList();
        if (odd.Count > 0)
        {
            throw new InfluenceException(
                $"Scores per position need layers whose positions are the examples' own, all alike ({positions?.ToString() ?? "none"} here); these are not: {InfluenceException.List(odd)}. " +
                "Give a table of positions an example axis, positions.call(arange(T).unsqueeze(0).expand(B, T)), or leave such layers out by Layers = LayerSelection.Where(...), in the fit too.");
        }
    }
}
