using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Products place by place, and products with queries that were taken once.</summary>
internal sealed partial class GradientProducts
{
    /// <summary>
    /// Hands on the product of each query's gradient with that of the training example at the same place, and no other product: no matrix
    /// of pairs is formed, in a batch neither.
    /// </summary>
    /// <param name="take">Takes the first example's place and products <c>[b]</c> on the CPU.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">N queries; their measurement is differentiated.</param>
    /// <param name="progress">Told after each batch.</param>
    public void Matched(Action<long, Tensor> take, Examples train, Examples queries, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        var unchanged = new UnchangedWeights(session.Task.Model);
        long first = 0;
        foreach (var (query, example) in PairedBatches.Of(session, queries, train, MatchedAtOnce(train, queries)))
        {
            progress.Token.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var (kept, querySquares) = KeptQueries(query, scope);
            using (CostMeter.Stage(TrainingPass))
            {
                using var batch = session.Capture(example, LossKind.Training);
                var products = zeros([batch.Count], batch.Dtype, batch.Device);
                for (var k = 0; k < kept.Length; k++)
                {
                    if (kept[k] is { } own && batch.Blocks[k] is { } block && factors?[k] != 0)
                    {
                        using var one = NewDisposeScope();
                        products.add_(own.MatchedProducts(block), Kept(factors?[k] ?? 1));
                        own.Release();
                        block.Release();
                    }
                }

                var values = Normalized(products, batch, querySquares);
                if (FiniteProducts.AnyNotFinite(values))
                {
                    FiniteProducts.ThrowNotFinite(values.unsqueeze(0), batch.Ids, []);
                }

                take(first, values.cpu());
            }

            first += example.Count;
            progress.Add(example.Count);
        }

        unchanged.Check();
    }

    /// <summary>Takes the summed queries' gradient and applies the metric to it, for any number of <see cref="Meet"/>.</summary>
    /// <param name="train">Training examples like those that are met.</param>
    /// <param name="queries">Q queries; their measurement is differentiated.</param>
    /// <param name="weight">The factor; 1/Q for the mean.</param>
    /// <param name="progress">Carries the cancellation.</param>
    /// <returns>The sum; the caller disposes it.</returns>
    public PreparedSum Prepare(Examples train, Examples queries, double weight, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var unchanged = new UnchangedWeights(session.Task.Model);
        var (_, _, examplesAtOnce) = Plan(train, queries);
        using var sum = Sum(queries, examplesAtOnce, progress);
        using var total = sum.Take();
        using var applied = Preconditioned(() => metric.Written(total));
        unchanged.Check();
        Tensor[]?[] parts =
        [
            .. applied.Blocks.Select(block =>
                block is null ? null : (Tensor[])[.. block.Dense().Select(part => part.clone().mul_(Kept(weight)).DetachFromDisposeScope())]
            ),
        ];
        return new PreparedSum(parts, examplesAtOnce, unchanged);
    }

    /// <summary>Hands on the products of some training examples with a prepared sum: one forward and backward pass over them, and nothing
    /// else.</summary>
    /// <param name="take">Takes the first example's place and products <c>[1, b]</c> on the CPU.</param>
    /// <param name="prepared">What <see cref="Prepare"/> gave.</param>
    /// <param name="examples">Training examples.</param>
    /// <param name="progress">Told after each batch.</param>
    public void Meet(Action<long, Tensor> take, PreparedSum prepared, Examples examples, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        using var gradient = prepared.Take(session.Dtype, session.Device);
        using var kept = NewDisposeScope();
        using var block = Alone(gradient, gradient, kept);
        Stream(1, (_, first, products) => take(first, products), block, examples, [-1], prepared.ExamplesAtOnce, progress, meet: false);
        prepared.Unchanged.Check();
    }

    /// <summary>The gradients of some queries with the metric applied, copied, and their products with themselves where a cosine wants
    /// them; all of it goes to the scope.</summary>
    private (BlockGradients?[] Blocks, Tensor? Squares) KeptQueries(ExampleBatch query, DisposeScope scope)
    {
        using var stage = CostMeter.Stage(QueryPass);
        using var batch = session.Capture(query, LossKind.Measurement);
        var squares = Cosine ? metric.SelfProducts(batch) : null;
        if (squares is not null)
        {
            scope.Attach(squares);
        }

        if (metric.IsEuclidean)
        {
            return (Copies(batch), squares);
        }

        using var applied = Preconditioned(() => metric.Written(batch));
        return (Copies(applied), squares);

        // Made one after the other: what a block wrote out is dropped before the next one is.
        BlockGradients?[] Copies(BatchGradients of)
        {
            var copies = new BlockGradients?[of.Blocks.Count];
            for (var k = 0; k < copies.Length; k++)
            {
                copies[k] = of.Blocks[k]?.Copy(scope);
                of.Blocks[k]?.Release();
            }

            return copies;
        }
    }

    private Tensor Normalized(Tensor products, BatchGradients batch, Tensor? querySquares)
    {
        if (Squares(batch) is not { } squares)
        {
            return products;
        }

        CheckSquares(squares, batch.Ids);
        var norms = (querySquares is null ? squares : squares * querySquares).sqrt(); // [B]
        return (products / norms).masked_fill(norms.eq(Kept(0)), Kept(0));
    }

    /// <summary>So many pairs that both sides' gradients, in the forms that they are kept in, fit the budget.</summary>
    private int MatchedAtOnce(Examples train, Examples queries)
    {
        using var scope = NewDisposeScope();
        var (atOnce, numbers) = (int.MaxValue, 1.0);
        foreach (var (examples, kind) in new[] { (train, LossKind.Training), (queries, LossKind.Measurement) })
        {
            using var sample = Sample(examples, kind);
            atOnce = Math.Min(atOnce, _planner.ExamplesAtOnce(sample.Blocks));
            numbers = Math.Max(numbers, sample.Blocks.Sum(block => block?.NumbersToCopy ?? 0));
        }

        // With a preconditioner a query is written out, and so is, one block at a time, the example that it meets.
        var written = metric.IsEuclidean ? numbers : 2 * session.Parts.Sum(parts => parts.Sum(p => (double)p.Count));
        return (int)Math.Clamp(_planner.QueryBytes / (written * session.Dtype.ElementSize()), 1, atOnce);
    }
}
