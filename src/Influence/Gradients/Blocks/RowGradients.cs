using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The per-example gradients of one pass of a training loop, and what can be asked of them: weighted sums, norms, products.
/// Between two questions only the layers' inputs and output gradients are kept, and gradients that had to be written out.
/// </summary>
/// <param name="session">The session that made the pass.</param>
/// <param name="count">The number of examples, B.</param>
/// <param name="calls">By layer, what each call saw, of these examples and perhaps others.</param>
/// <param name="first">Where in the calls the examples begin.</param>
/// <param name="memoryBudget">Bytes that written-out gradients may take.</param>
internal sealed partial class RowGradients(
    TrainingSession session,
    int count,
    IReadOnlyDictionary<TrackedLayer, List<LayerCall>> calls,
    long first,
    long memoryBudget
) : IDisposable
{
    private readonly Dictionary<int, Tensor[]> _written = [];
    private readonly ContractionPlanner _planner = new(memoryBudget, session.Dtype.ElementSize());
    private long _free = memoryBudget / 2;

    /// <summary>The number of examples, B.</summary>
    public int Count => count;

    /// <summary>sum over i of w_i g_i, one part a parameter, <c>[P_k]</c>, in the current scope; null where the pass did not use a
    /// block.</summary>
    /// <param name="weights">w, <c>[B]</c>; null for ones.</param>
    public Tensor[]?[] Sum(Tensor? weights = null)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var rows = weights is null ? null : Chosen(weights);
        Tensor[]?[] sums =
        [
            .. Blocks()
                .Select(
                    (block, k) =>
                    {
                        using var one = NewDisposeScope();
                        using var span = block is null ? default : ContractionSpan.Of(ContractionSpan.Sums, block);
                        var sum =
                            block is null ? null
                            : Written(k, block) is { } written ? BlockGradients.Sum(written, weights)
                            : block.Sum(weights, rows);
                        one.MoveToOuter(sum ?? []);
                        return sum;
                    }
                ),
        ];
        scope.MoveToOuter(sums.OfType<Tensor[]>().SelectMany(parts => parts));
        return sums;
    }

    /// <summary>||g_i||^2 over all blocks, <c>[B]</c>, in the current scope.</summary>
    public Tensor SquaredNorms()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = Zeros(count); // [B]
        ForEach(
            (block, k) =>
            {
                using var span = ContractionSpan.Of(ContractionSpan.Norms, block);
                if (Written(k, block) is { } written)
                {
                    total.add_(BlockGradients.SquaredNorms(written));
                }
                else
                {
                    ForSlices(block, k, (part, start) => total.narrow(0, start, part.Examples).add_(part.SquaredNorms()));
                }
            }
        );
        return total.MoveToOuterDisposeScope();
    }

    /// <summary>The same in float64, for norms whose squares are too large for the session's type.</summary>
    public Tensor PreciseSquaredNorms()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = zeros([count], ScalarType.Float64, session.Device); // [B]
        ForEach(
            (block, k) =>
            {
                if (Written(k, block) is { } written)
                {
                    total.add_(BlockGradients.SquaredNorms([.. written.Select(part => part.to_type(ScalarType.Float64))]));
                }
                else
                {
                    ForSlices(block, k, (part, start) => total.narrow(0, start, part.Examples).add_(part.PreciseSquaredNorms()));
                }
            }
        );
        return total.MoveToOuterDisposeScope();
    }

    /// <summary>v . g_i for every example, <c>[B]</c>, in the current scope.</summary>
    /// <param name="direction">v, one part a parameter, <c>[P_k]</c>; null where it is zero.</param>
    public Tensor ProductsWith(IReadOnlyList<Tensor[]?> direction)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = Zeros(1, count); // [1, B]
        ForEach(
            (block, k) =>
            {
                if (direction[k] is { } parts)
                {
                    AddProducts(total, [.. parts.Select(p => p.unsqueeze(0))], block, k);
                }
            }
        );
        return total.squeeze(0).MoveToOuterDisposeScope();
    }

    /// <summary>The products of the mean gradient of other examples with every example's, <c>[B]</c>, in the current scope.</summary>
    /// <param name="others">V examples of the same session.</param>
    public Tensor ProductsWithMean(RowGradients others)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = Zeros(1, count); // [1, B]
        var other = others.Blocks();
        ForEach(
            (block, k) =>
            {
                using var span = ContractionSpan.Of(ContractionSpan.Means, block, others.Count);
                if (other[k] is not { } meets)
                {
                    return;
                }

                if (block.CheapPairs(meets) is { } pairs)
                {
                    total.add_(pairs.sum(0L, keepdim: true));
                }
                else
                {
                    var sum = others.Written(k, meets) is { } written ? BlockGradients.Sum(written, null) : meets.Sum();
                    AddProducts(total, [.. sum.Select(p => p.unsqueeze(0))], block, k);
                }
            }
        );
        return total.squeeze(0).div_(Kept(others.Count)).MoveToOuterDisposeScope();
    }

    /// <summary>g_i . g_j, <c>[B, B]</c>, in the current scope.</summary>
    /// <param name="scales">By block, what each part's products are multiplied by; null for ones.</param>
    public Tensor Gram(IReadOnlyList<double[]>? scales = null)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = Zeros(count, count); // [B, B]
        ForEach(
            (block, k) =>
            {
                if (scales is null)
                {
                    AddGram(total, block, k);
                }
                else if (scales[k].Distinct().Count() == 1)
                {
                    var own = Zeros(count, count); // [B, B]
                    AddGram(own, block, k);
                    total.add_(own, Kept(scales[k][0]));
                }
                else
                {
                    ForSlices(block, k, (left, start) => AddGramRows(total, left, start, k, scales[k]));
                }
            }
        );
        return total.MoveToOuterDisposeScope();
    }

    private void AddGram(Tensor total, BlockGradients block, int k)
    {
        using var span = ContractionSpan.Of(ContractionSpan.Overlaps, block, count);
        if (Written(k, block) is { } written)
        {
            Products.AddDense(total, written, written);
        }
        else if (!block.TryAddGram(total, _planner))
        {
            ForSlices(block, k, (left, start) => AddGramRows(total, left, start, k));
        }
    }

    public void Dispose()
    {
        foreach (var part in _written.Values.SelectMany(parts => parts))
        {
            part.Dispose();
        }

        _written.Clear();
    }

    private IReadOnlyList<BlockGradients?> Blocks() => session.BlocksOf(Calls(calls.Keys, 0, count));

    private Dictionary<TrackedLayer, List<LayerCall>> Calls(IEnumerable<TrackedLayer> layers, long start, long examples) =>
        layers.ToDictionary(
            layer => layer,
            layer => calls[layer].ConvertAll(call => call.Examples == examples ? call : call.Slice(first + start, examples))
        );

    private void ForEach(Action<BlockGradients, int> action)
    {
        var blocks = Blocks();
        for (var k = 0; k < blocks.Count; k++)
        {
            if (blocks[k] is { } block)
            {
                using var scope = NewDisposeScope();
                action(block, k);
                block.Release();
            }
        }
    }

    /// <summary>
    /// The block written out, <c>[B, P_k]</c>, where that is the cheapest way to the sum and the norms together and the memory
    /// allows it: made once, and everything else then is a pass over it.
    /// </summary>
    private Tensor[]? Written(int k, BlockGradients block)
    {
        if (_written.TryGetValue(k, out var found))
        {
            return found;
        }

        var bytes = session.Parts[k].Sum(p => p.Count) * count * session.Dtype.ElementSize();
        if (bytes > _free || !block.WritingIsCheaper)
        {
            return null;
        }

        _free -= bytes;
        using var span = ContractionSpan.Of(ContractionSpan.WrittenOut, block);
        using var scope = NewDisposeScope();

        // The block disposes what it made when it is released: an alias stays.
        return _written[k] = [.. block.Dense().Select(part => part.alias().DetachFromDisposeScope())];
    }

    private void AddProducts(Tensor total, Tensor[] direction, BlockGradients block, int k)
    {
        if (Written(k, block) is { } written)
        {
            Products.AddDense(total, direction, written);
        }
        else
        {
            block.AddProducts(total, direction);
        }
    }

    /// <summary>The rows with a weight, int64, where leaving the others out saves work; else null.</summary>
    private static Tensor? Chosen(Tensor weights)
    {
        var rows = weights.ne(Kept(0)).nonzero().squeeze(1); // [K]
        return rows.shape[0] < 0.75 * weights.shape[0] ? rows : null;
    }

    private Tensor Zeros(params long[] size) => zeros(size, session.Dtype, session.Device);
}
