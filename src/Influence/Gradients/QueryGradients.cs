using Influence.Numerics;
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
    private readonly ProductArithmetic _arithmetic;
    private readonly List<(long Row, QueryFactors Factors)>[] _parts;
    private readonly Tensor[]?[] _dense;
    private readonly List<Tensor> _squaredNorms = [];
    private readonly long _capacity;
    private readonly DisposeScope _owned;

    /// <param name="plan">The contraction of each block.</param>
    /// <param name="planner">How much may be written out at once.</param>
    /// <param name="capacity">How many queries will come.</param>
    /// <param name="owned">What the kept tensors go to.</param>
    /// <param name="arithmetic">How matrix products are reckoned; null: in the numbers' own type.</param>
    public QueryGradients(
        Contraction[] plan,
        ContractionPlanner planner,
        long capacity,
        DisposeScope owned,
        ProductArithmetic? arithmetic = null
    )
    {
        _plan = plan;
        _planner = planner;
        _arithmetic = arithmetic ?? ProductArithmetic.Own;
        _capacity = capacity;
        _owned = owned;
        _parts = [.. plan.Select(_ => new List<(long, QueryFactors)>())];
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
        using var span = Spans.Of("queries kept", examples: batch.Count);
        var norms = withNorms ? Own(zeros([batch.Count], batch.Dtype, batch.Device)) : null;
        for (var k = 0; k < _plan.Length; k++)
        {
            using var scope = NewDisposeScope();
            if (batch.Blocks[k] is not { } block)
            {
                continue;
            }

            if (block.FactorsFor(_plan[k]) is { } factors)
            {
                _owned.Attach(factors.First, factors.Second);
                _parts[k].Add((Count, factors));
            }
            else
            {
                KeepDense(k, block);
            }

            norms?.add_(block.SquaredNorms());
            block.Release();
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
        using var span = Spans.Of("queries kept");
        foreach (var parts in _parts)
        {
            if (
                parts.Count > 1
                && parts.All(p => p.Factors.First.shape[1] == parts[0].Factors.First.shape[1])
                && parts.Zip(parts.Skip(1)).All(pair => pair.First.Row + pair.First.Factors.First.shape[0] == pair.Second.Row)
            )
            {
                var joined = new QueryFactors(
                    Own(cat([.. parts.Select(p => p.Factors.First)], 0)),
                    Own(cat([.. parts.Select(p => p.Factors.Second)], 0)),
                    parts[0].Factors.Weights
                );
                foreach (var (_, factors) in parts)
                {
                    factors.First.Dispose();
                    factors.Second.Dispose();
                }

                (long, QueryFactors) whole = (parts[0].Row, joined);
                parts.Clear();
                parts.Add(whole);
            }
        }
    }

    /// <summary>The factors of all queries in one block, where they are kept as factors and in one piece; else null.</summary>
    public QueryFactors? FactorsOf(int block) =>
        _parts[block] is [var (row, factors)] && row == 0 && factors.First.shape[0] == Count ? factors : null;

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
    /// <param name="skip">Optional: blocks that are left out, and not released.</param>
    public void AddDot(BatchGradients batch, Func<int, Tensor> target, Tensor? squaredNorms = null, Func<int, bool>? skip = null)
    {
        for (var k = 0; k < _plan.Length; k++)
        {
            if (batch.Blocks[k] is not { } block || skip?.Invoke(k) == true)
            {
                continue;
            }

            using var span = ContractionSpan.Of(_plan[k].ToString(), block, Count);
            var products = target(k);
            Spans.Made(products);
            using var scope = NewDisposeScope();
            foreach (var (row, factors) in _parts[k])
            {
                block.AddFactorProducts(products.narrow(0, row, factors.First.shape[0]), factors, _planner, _arithmetic);
            }

            if (_dense[k] is { } queries)
            {
                var kept = queries.Select(q => q.narrow(0, 0, Count)).ToArray();
                if (_plan[k] is Contraction.Factored or Contraction.Rows)
                {
                    block.AddProducts(products, kept, _arithmetic);
                }
                else if (squaredNorms is null)
                {
                    block.AddWrittenProducts(products, kept, _arithmetic);
                }
                else
                {
                    Products.AddDense(products, kept, block.Dense(), _arithmetic);
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
        var written = _plan[k] == Contraction.Dense; // others read single rows, or add them up
        _dense[k] ??=
        [
            .. dense.Select(part => Own(zeros([_capacity, part.shape[1]], written ? _arithmetic.TypeOf(part) : part.dtype, part.device))),
        ];
        for (var p = 0; p < dense.Length; p++)
        {
            using var rows = _dense[k]![p].narrow(0, Count, block.Examples);
            rows.copy_(dense[p]);
        }
    }
}
