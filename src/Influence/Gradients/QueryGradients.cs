using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The gradients of a set of queries, kept while training examples stream past; each block in the form that its
/// contraction wants. Owns its tensors.
/// </summary>
internal sealed class QueryGradients : IDisposable
{
    private readonly Contraction[] _plan;
    private readonly ContractionPlanner _planner;
    private readonly List<Part>[] _parts;
    private readonly Tensor[]?[] _dense;
    private readonly List<Tensor> _squaredNorms = [];
    private readonly long _capacity;
    private readonly DisposeScope _owned;

    public QueryGradients(Contraction[] plan, ContractionPlanner planner, long capacity, DisposeScope owned)
    {
        _plan = plan;
        _planner = planner;
        _capacity = capacity;
        _owned = owned;
        _parts = [.. plan.Select(_ => new List<Part>())];
        _dense = new Tensor[]?[plan.Length];
    }

    /// <summary>The number of queries kept so far.</summary>
    public long Count { get; private set; }

    /// <summary>Keeps a batch of queries.</summary>
    /// <param name="batch">What the metric made of their gradients.</param>
    /// <param name="squaredNorms">Their products with themselves, <c>[B]</c>, for cosines; null where they are not wanted.</param>
    public void Add(BatchGradients batch, Tensor? squaredNorms)
    {
        Add(batch, withNorms: false);
        if (squaredNorms is not null)
        {
            _squaredNorms.Add(Own(squaredNorms.clone()));
        }
    }

    /// <summary>Keeps a batch of queries.</summary>
    /// <param name="batch">Their gradients.</param>
    /// <param name="withNorms">Keep their norms too, for cosines.</param>
    public void Add(BatchGradients batch, bool withNorms)
    {
        var norms = withNorms ? Own(zeros([batch.Count], batch.Dtype, batch.Device)) : null;
        for (var k = 0; k < _plan.Length; k++)
        {
            using var scope = NewDisposeScope();
            switch (batch.Blocks[k])
            {
                case null:
                    continue;
                case FactoredGradients f when _plan[k] == Contraction.Ghost:
                    _parts[k].Add(new Part(Count, Own(f.ActivationWithBias()), Own(f.OutputGradient.clone())));
                    break;
                case SpectralGradients spectral:
                    _parts[k].Add(new Part(Count, Own(spectral.Rotated.Activation.clone()), Own(spectral.Rotated.OutputGradient.clone())) { Weights = spectral.Weights });
                    break;
                case TokenGradients tokens when _plan[k] == Contraction.Rows:
                    _parts[k].Add(new Part(Count, Own(tokens.Tokens.clone()), Own(tokens.OutputGradient.clone())));
                    break;
                case var block:
                    KeepDense(k, block);
                    break;
            }

            norms?.add_(batch.Blocks[k]!.SquaredNorms());
            batch.Blocks[k]!.Release();
        }

        if (norms is not null)
        {
            _squaredNorms.Add(norms);
        }

        Count += batch.Count;
    }

    /// <summary>Joins what came in several batches, so that products are few and large.</summary>
    public void Complete()
    {
        foreach (var parts in _parts)
        {
            if (parts.Count > 1 && parts.All(p => p.First.shape[1] == parts[0].First.shape[1])
                && parts.Zip(parts.Skip(1)).All(pair => pair.First.Row + pair.First.First.shape[0] == pair.Second.Row))
            {
                var joined = new Part(
                    parts[0].Row, Own(cat([.. parts.Select(p => p.First)], 0)), Own(cat([.. parts.Select(p => p.Second)], 0)))
                {
                    Weights = parts[0].Weights,
                };
                parts.ForEach(p => p.Dispose());
                parts.Clear();
                parts.Add(joined);
            }
        }
    }

    /// <summary>The L2 norms of the queries' gradients, <c>[Q]</c>.</summary>
    public Tensor Norms() => cat([.. _squaredNorms], 0).sqrt_();

    /// <summary>The products of every kept query with every example of the batch, over all blocks: <c>[Q, B]</c>.</summary>
    /// <param name="batch">Training examples.</param>
    /// <param name="squaredNorms">Optional <c>[B]</c>: the examples' squared norms are added to it while they are at hand.</param>
    public Tensor Dot(BatchGradients batch, Tensor? squaredNorms = null)
    {
        var products = zeros([Count, batch.Count], batch.Dtype, batch.Device);
        AddDot(batch, _ => products, squaredNorms);
        return products;
    }

    /// <summary>Adds the products of each block to a tensor of its own choice.</summary>
    /// <param name="batch">Training examples.</param>
    /// <param name="target">Where the products of a block go, <c>[Q, B]</c>.</param>
    /// <param name="squaredNorms">Optional <c>[B]</c>: the examples' squared norms are added to it while they are at hand.</param>
    public void AddDot(BatchGradients batch, Func<int, Tensor> target, Tensor? squaredNorms = null)
    {
        for (var k = 0; k < _plan.Length; k++)
        {
            if (batch.Blocks[k] is not { } block)
            {
                continue;
            }

            var products = target(k);
            using var scope = NewDisposeScope();
            foreach (var part in _parts[k])
            {
                var rows = products.narrow(0, part.Row, part.First.shape[0]);
                if (block is TokenGradients rowsOf)
                {
                    var atOnce = _planner.RowsAtOnce(part.First.shape[0] + batch.Count, rowsOf.Width);
                    Products.AddRows(rows, part.First, part.Second, rowsOf, atOnce);
                }
                else if (part.Weights is { } weights)
                {
                    SpectralProducts.Add(rows, part.First, part.Second, (FactoredGradients)block, weights, _planner.NumbersAtOnce);
                }
                else
                {
                    var f = (FactoredGradients)block;
                    var atOnce = _planner.GhostExamplesAtOnce(part.First.shape[0], part.First.shape[1], f.Positions);
                    Products.AddGhost(rows, part.First, part.Second, f, atOnce);
                }
            }

            if (_dense[k] is { } queries)
            {
                var kept = queries.Select(q => q.narrow(0, 0, Count)).ToArray();
                if (block is TokenGradients tokens)
                {
                    Products.AddTable(products, kept[0], tokens);
                }
                else if (_plan[k] == Contraction.Factored && block is FactoredGradients { Weight: true } f)
                {
                    Products.AddFactored(products, kept, f);
                }
                else
                {
                    Products.AddDense(products, kept, block.Dense());
                }
            }

            squaredNorms?.add_(block.SquaredNorms());
            block.Release();
        }
    }

    public void Dispose() => _owned.Dispose();

    private Tensor Own(Tensor tensor)
    {
        _owned.Attach(tensor);
        return tensor;
    }

    private void KeepDense(int k, BlockGradients block)
    {
        var dense = block.Dense();
        _dense[k] ??= [.. dense.Select(part => Own(zeros([_capacity, part.shape[1]], part.dtype, part.device)))];
        for (var p = 0; p < dense.Length; p++)
        {
            using var rows = _dense[k]![p].narrow(0, Count, block.Examples);
            rows.copy_(dense[p]);
        }
    }

    /// <summary>Two factors of consecutive queries: activations and output gradients, or tokens and output gradients.</summary>
    private sealed record Part(long Row, Tensor First, Tensor Second) : IDisposable
    {
        /// <summary>Weights in an eigenbasis; null for plain products.</summary>
        public SpectralWeights? Weights { get; init; }

        public void Dispose()
        {
            First.Dispose();
            Second.Dispose();
        }
    }
}
