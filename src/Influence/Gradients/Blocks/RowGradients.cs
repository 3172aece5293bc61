using TorchSharp;
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
    TrainingSession session, int count, IReadOnlyDictionary<TrackedLayer, List<LayerCall>> calls, long first, long memoryBudget) : IDisposable
{
    private readonly Dictionary<int, Tensor[]> _written = [];
    private readonly ContractionPlanner _planner = new(memoryBudget, session.Dtype.ElementSize());
    private long _free = memoryBudget / 2;

    /// <summary>The number of examples, B.</summary>
    public int Count => count;

    /// <summary>sum over i of w_i g_i, one part a parameter, <c>[P_k]</c>, in the current scope; null where the pass did not use a block.</summary>
    /// <param name="weights">w, <c>[B]</c>; null for ones.</param>
    public Tensor[]?[] Sum(Tensor? weights = null)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var rows = weights is null ? null : Chosen(weights);
        Tensor[]?[] sums = [.. Blocks().Select((block, k) =>
        {
            using var one = NewDisposeScope();
            var sum = block is null ? null
                : Written(k, block) is { } written ? [.. written.Select(part => weights is null ? part.sum(0L) : weights.unsqueeze(0).mm(part).squeeze(0))]
                : SumOf(block, weights, rows);
            one.MoveToOuter(sum ?? []);
            return sum;
        })];
        scope.MoveToOuter(sums.OfType<Tensor[]>().SelectMany(parts => parts));
        return sums;
    }

    /// <summary>||g_i||^2 over all blocks, <c>[B]</c>, in the current scope.</summary>
    public Tensor SquaredNorms()
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = Zeros(count);                                                       // [B]
        ForEach((block, k) =>
        {
            if (Written(k, block) is { } written)
            {
                total.add_(BlockGradients.SquaredNorms(written));
            }
            else
            {
                ForSlices(block, k, (part, start) => total.narrow(0, start, part.Examples).add_(part.SquaredNorms()));
            }
        });
        return total.MoveToOuterDisposeScope();
    }

    /// <summary>v . g_i for every example, <c>[B]</c>, in the current scope.</summary>
    /// <param name="direction">v, one part a parameter, <c>[P_k]</c>; null where it is zero.</param>
    public Tensor ProductsWith(IReadOnlyList<Tensor[]?> direction)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = Zeros(1, count);                                                    // [1, B]
        ForEach((block, k) =>
        {
            if (direction[k] is { } parts)
            {
                AddProducts(total, [.. parts.Select(p => p.unsqueeze(0))], block, k);
            }
        });
        return total.squeeze(0).MoveToOuterDisposeScope();
    }

    /// <summary>The products of the mean gradient of other examples with every example's, <c>[B]</c>, in the current scope.</summary>
    /// <param name="others">V examples of the same session.</param>
    public Tensor ProductsWithMean(RowGradients others)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = Zeros(1, count);                                                    // [1, B]
        var other = others.Blocks();
        ForEach((block, k) =>
        {
            if (other[k] is FactoredGradients { Weight: true, Positions: 1 } v && block is FactoredGradients { Weight: true, Positions: 1 } f && GhostIsCheaper(v, f))
            {
                total.add_(Pairs(v, f).sum(0L, keepdim: true));
            }
            else if (other[k] is { } meets)
            {
                Tensor[] sum = others.Written(k, meets) is { } written ? [.. written.Select(part => part.sum(0L))] : SumOf(meets, null, null);
                AddProducts(total, [.. sum.Select(p => p.unsqueeze(0))], block, k);
            }
        });
        return total.squeeze(0).div_(others.Count).MoveToOuterDisposeScope();

        // Pairs of factors, V (I + O) an example, against the sum written out (V/B + 1) I O.
        bool GhostIsCheaper(FactoredGradients v, FactoredGradients f) =>
            v.Examples * (double)(f.Inputs + f.Outputs) < (1 + ((double)v.Examples / f.Examples)) * f.Inputs * f.Outputs;
    }

    /// <summary>g_i . g_j, <c>[B, B]</c>, in the current scope.</summary>
    /// <param name="scales">By block, what each part's products are multiplied by; null for ones.</param>
    public Tensor Gram(IReadOnlyList<double[]>? scales = null)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var total = Zeros(count, count);                                                // [B, B]
        ForEach((block, k) =>
        {
            if (scales is null)
            {
                AddGram(total, block, k);
            }
            else if (scales[k].Distinct().Count() == 1)
            {
                var own = Zeros(count, count);                                          // [B, B]
                AddGram(own, block, k);
                total.add_(own, scales[k][0]);
            }
            else
            {
                ForSlices(block, k, (left, start) => AddGramRows(total, left, start, k, scales[k]));
            }
        });
        return total.MoveToOuterDisposeScope();
    }

    private void AddGram(Tensor total, BlockGradients block, int k)
    {
        if (Written(k, block) is { } written)
        {
            Products.AddDense(total, written, written);
        }
        else if (block is TokenGradients tokens)
        {
            Products.AddRows(total, tokens.Tokens, tokens.OutputGradient, tokens, _planner.RowsAtOnce(2L * count, tokens.Width));
        }
        else if (block is FactoredGradients { Weight: true, Positions: 1 } single)
        {
            total.add_(Pairs(single, single));
        }
        else if (block is FactoredGradients { Weight: true } f
            && ContractionCost.Ghost(count, f.Positions, f.Positions, f.Inputs, f.Outputs) <= ContractionCost.Dense(count, f.Positions, f.Inputs, f.Outputs))
        {
            var activation = f.Bias ? f.ActivationWithBias() : f.Activation;            // [B, T, I (+1)]
            Products.AddGhost(total, activation, f.OutputGradient, f, _planner.GhostExamplesAtOnce(count, f.Positions, f.Positions));
        }
        else
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

    /// <summary>(a_v . a_i + 1)(d_v . d_i) where every example has one position, <c>[V, B]</c>; the one is the bias.</summary>
    private static Tensor Pairs(FactoredGradients left, FactoredGradients right)
    {
        var activations = left.Activation.squeeze(1).mm(right.Activation.squeeze(1).t());           // [V, B]
        var gradients = left.OutputGradient.squeeze(1).mm(right.OutputGradient.squeeze(1).t());     // [V, B]
        return (left.Bias ? activations.add_(1) : activations).mul_(gradients);
    }

    private IReadOnlyList<BlockGradients?> Blocks() => session.BlocksOf(Calls(calls.Keys, 0, count));

    private Dictionary<TrackedLayer, List<LayerCall>> Calls(IEnumerable<TrackedLayer> layers, long start, long examples) =>
        layers.ToDictionary(layer => layer, layer => calls[layer].ConvertAll(call => call.Examples == examples ? call : call.Slice(first + start, examples)));

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
        if (bytes > _free || !WritingIsCheaper(block))
        {
            return null;
        }

        _free -= bytes;
        using var scope = NewDisposeScope();

        // The block disposes what it made when it is released: an alias stays.
        return _written[k] = [.. block.Dense().Select(part => part.alias().DetachFromDisposeScope())];
    }

    private static bool WritingIsCheaper(BlockGradients block) => block switch
    {
        FactoredGradients { Weight: true, Positions: 1 } => false,
        FactoredGradients { Weight: true } f =>
            ContractionCost.DenseNorm(f) + ContractionCost.DenseSum(f) < ContractionCost.GhostNorm(f) + ContractionCost.FactoredSum(f),
        TokenGradients => false,
        _ => true,
    };

    private void AddProducts(Tensor total, Tensor[] direction, BlockGradients block, int k)
    {
        if (Written(k, block) is { } written)
        {
            Products.AddDense(total, direction, written);
        }
        else
        {
            AddProducts(total, direction, block);
        }
    }

    private static void AddProducts(Tensor total, Tensor[] direction, BlockGradients block)
    {
        switch (block)
        {
            case TokenGradients tokens:
                Products.AddTable(total, direction[0], tokens);
                break;
            case FactoredGradients { Weight: true } f:
                Products.AddFactored(total, direction, f);
                break;
            case TiedGradients tied:
                // A product is linear in the gradient, which is the sum of the uses'.
                foreach (var use in tied.Uses)
                {
                    AddProducts(total, direction, use);
                }

                break;
            default:
                Products.AddDense(total, direction, block.Dense());
                break;
        }
    }

    /// <summary>The weighted sum of a block that is not written out; no single example's gradient is formed where there are factors.</summary>
    private static Tensor[] SumOf(BlockGradients block, Tensor? weights, Tensor? rows)
    {
        switch (block)
        {
            case FactoredGradients { Weight: true } f:
                var (a, d) = (f.Activation, f.OutputGradient);                          // [B, T, I], [B, T, O]
                if (rows is not null)
                {
                    (a, d, weights) = (a.index_select(0, rows), d.index_select(0, rows), weights!.index_select(0, rows));
                }

                d = (weights is null ? d : d * weights.reshape(-1, 1, 1)).reshape(-1, f.Outputs);   // [B*T, O]
                var weight = d.t().mm(a.reshape(-1, f.Inputs)).reshape(-1);
                return f.Bias ? [weight, d.sum(0L)] : [weight];
            case TokenGradients tokens:
                var table = zeros([tokens.Vocabulary, tokens.Width], tokens.OutputGradient.dtype, tokens.OutputGradient.device);
                var gradient = weights is null ? tokens.OutputGradient : tokens.OutputGradient * weights.reshape(-1, 1, 1);
                table.index_add_(0, tokens.Tokens.reshape(-1), gradient.reshape(-1, tokens.Width), 1);
                return [table.reshape(-1)];
            case TiedGradients tied:
                var total = SumOf(tied.Uses[0], weights, rows);
                foreach (var use in tied.Uses.Skip(1))
                {
                    total[0].add_(SumOf(use, weights, rows)[0]);
                }

                return total;
            default:
                return [.. block.Dense().Select(part => weights is null ? part.sum(0L) : weights.unsqueeze(0).mm(part).squeeze(0))];
        }
    }

    /// <summary>The rows with a weight, int64, where leaving the others out saves work; else null.</summary>
    private static Tensor? Chosen(Tensor weights)
    {
        var rows = weights.ne(0).nonzero().squeeze(1);                                  // [K]
        return rows.shape[0] < 0.75 * weights.shape[0] ? rows : null;
    }

    private Tensor Zeros(params long[] size) => zeros(size, session.Dtype, session.Device);
}
