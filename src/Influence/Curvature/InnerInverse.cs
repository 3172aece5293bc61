using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>Another preconditioner's inverse, on vectors.</summary>
/// <param name="inverse">Not owned.</param>
/// <param name="layout">The order of the parameters.</param>
/// <param name="damping">Where the inverse leaves a block out, its rows are divided by this: nothing may be lost for good.</param>
internal sealed class InnerInverse(Inverse inverse, ParameterVector layout, double damping)
{
    /// <summary>Rows <c>[K, P]</c> to rows <c>[K, P]</c>, in the current scope.</summary>
    public Tensor Apply(Tensor rows)
    {
        using var scope = NewDisposeScope();
        IReadOnlyList<long> ids = [.. Enumerable.Range(0, (int)rows.shape[0]).Select(k => (long)k)];
        Tensor result;
        using (var given = new BatchGradients(NewDisposeScope(), ids, layout.Dtype, layout.Device) { Blocks = layout.Blocks(rows) })
        {
            using var applied = inverse.Written(given);
            result = layout.Flatten(applied); // [K, P]
            scope.Attach(result);
            var ranges = layout.BlockRanges;
            for (var k = 0; k < ranges.Count; k++)
            {
                if (applied.Blocks[k] is null && damping > 0)
                {
                    var (start, count) = ranges[k];
                    result.narrow(1, start, count).copy_(rows.narrow(1, start, count) / Kept(damping));
                }
            }
        }

        return result.MoveToOuterDisposeScope();
    }
}
