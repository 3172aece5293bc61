using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <content>What takes more memory than there is for the whole batch, some examples at a time.</content>
internal sealed partial class RowGradients
{
    /// <summary>The products of some examples' gradients with their own and all later ones', on both sides of the diagonal.</summary>
    private void AddGramRows(Tensor total, BlockGradients left, long start, int k, double[]? scales = null)
    {
        var own = total.narrow(0, start, left.Examples).narrow(1, start, left.Examples);
        var scaled = scales is null ? left.Dense() : [.. left.Dense().Zip(scales, (part, scale) => part * Kept(scale))];
        Products.AddDense(own, scaled, left.Dense());
        for (var next = start + left.Examples; next < count; next += left.Examples)
        {
            using var scope = NewDisposeScope();
            var right = Slice(k, next, Math.Min(left.Examples, count - next));
            var products = Zeros(left.Examples, right.Examples); // [L, R]
            Products.AddDense(products, scaled, right.Dense());
            total.narrow(0, start, left.Examples).narrow(1, next, right.Examples).add_(products);
            total.narrow(0, next, right.Examples).narrow(1, start, left.Examples).add_(products.t());
            right.Release();
        }
    }

    /// <summary>One block of some of the examples, which exists where it does for all.</summary>
    private BlockGradients Slice(int k, long start, long examples) =>
        session.Blocks[k].Gradients(Calls(session.Blocks[k].Uses.Select(use => use.Layer).Distinct(), start, examples))!;

    /// <summary>A block by as many examples at once as the memory allows to be written out, or paired position by position.</summary>
    private void ForSlices(BlockGradients block, int k, Action<BlockGradients, long> action)
    {
        var atOnce = (long)
            Math.Clamp(
                memoryBudget / 4 / (block.NumbersToWrite(session.Parts[k].Sum(p => (double)p.Count)) * session.Dtype.ElementSize()),
                1,
                count
            );
        if (atOnce == count)
        {
            action(block, 0);
            return;
        }

        for (long start = 0; start < count; start += atOnce)
        {
            using var scope = NewDisposeScope();
            var slice = Slice(k, start, Math.Min(atOnce, count - start));
            action(slice, start);
            slice.Release();
        }
    }
}
