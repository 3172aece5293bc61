using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Norms of per-example gradients that are right also where they are small: products over pairs of positions in float64. In float32 what
/// should cancel there leaves 1e-7 of the squares, 3e-4 of a norm.
/// </summary>
internal static class PreciseNorms
{
    /// <summary>||g_i|| over all blocks, float64 <c>[B]</c> on the CPU, in the current scope.</summary>
    public static Tensor Of(BatchGradients batch)
    {
        using var scope = NewDisposeScope();
        var squares = zeros([batch.Count], ScalarType.Float64); // [B]
        foreach (var block in batch.Blocks.OfType<BlockGradients>())
        {
            using var one = NewDisposeScope();
            squares.add_(block.PreciseSquaredNorms().cpu());
            block.Release();
        }

        if (FiniteProducts.AnyNotFinite(squares))
        {
            FiniteProducts.ThrowNotFinite(squares.unsqueeze(0), batch.Ids, []);
        }

        return squares.clamp_min(Kept(0)).sqrt().MoveToOuterDisposeScope();
    }
}
