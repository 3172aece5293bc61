using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Runs queries and training examples through a session and adds up the products of their gradients, in bounded memory.
/// </summary>
/// <param name="session">An open session.</param>
/// <param name="memoryBudget">Bytes that kept query gradients and written-out gradients may take.</param>
/// <param name="cosine">Divide by both gradients' norms; zero where one of them is zero.</param>
internal sealed class GradientProducts(GradientSession session, long memoryBudget, bool cosine)
{
    private readonly ContractionPlanner _planner = new(memoryBudget, session.Dtype == ScalarType.Float64 ? 8 : 4);

    /// <summary>Adds weight times every product of a query's with a training example's gradient.</summary>
    /// <param name="totals"><c>[Q, N]</c> on the CPU, in the model's dtype.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is differentiated.</param>
    /// <param name="weight">The factor, a learning rate for instance.</param>
    /// <param name="progress">Told after each batch.</param>
    public void AddPairs(Tensor totals, Examples train, Examples queries, double weight, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        var (plan, capacity, examplesAtOnce) = Plan(queries, LossKind.Measurement);
        using var source = SubBatches(queries, (int)capacity).GetEnumerator();
        long done = 0;
        var more = source.MoveNext();
        while (more)
        {
            // Keep as many queries as fit, then stream the training examples past them.
            using var kept = NewDisposeScope();
            var block = new QueryGradients(plan, _planner, Math.Min(capacity, queries.Count - done), kept);
            while (more && block.Count + source.Current.Count <= capacity)
            {
                progress.Token.ThrowIfCancellationRequested();
                using (var batch = session.Capture(source.Current, LossKind.Measurement))
                {
                    block.Add(batch, cosine);
                }

                more = source.MoveNext();
            }

            block.Complete();
            progress.ExpectPasses((queries.Count + capacity - 1) / capacity);
            Stream(totals.narrow(0, done, block.Count), block, train, queries, (int)done, weight, examplesAtOnce, progress);
            done += block.Count;
        }
    }

    /// <summary>Adds weight times every training example's squared gradient norm.</summary>
    /// <param name="totals"><c>[N]</c> on the CPU, in the model's dtype.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="weight">The factor, a learning rate for instance.</param>
    /// <param name="progress">Told after each batch.</param>
    public void AddSelf(Tensor totals, Examples train, double weight, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        var (_, _, examplesAtOnce) = Plan(train, LossKind.Training);
        long first = 0;
        foreach (var examples in SubBatches(train, examplesAtOnce))
        {
            progress.Token.ThrowIfCancellationRequested();
            using var batch = session.Capture(examples, LossKind.Training);
            var norms = batch.SquaredNorms();
            if (AnyNotFinite(norms))
            {
                ThrowNotFinite(norms.unsqueeze(0), examples.Ids, []);
            }

            totals.narrow(0, first, batch.Count).add_(norms.cpu(), weight);
            first += batch.Count;
            progress.Add(batch.Count);
        }
    }

    private void Stream(
        Tensor totals, QueryGradients queries, Examples train, Examples allQueries, int firstQuery, double weight, int examplesAtOnce, ProgressReporter progress)
    {
        var queryNorms = cosine ? queries.Norms().unsqueeze(1) : null;                  // [Q, 1]
        IReadOnlyList<long> queryIds = [.. allQueries.Ids.Skip(firstQuery).Take((int)queries.Count)];
        long first = 0;
        using var waiting = new JoinedBatches();
        foreach (var examples in SubBatches(train, examplesAtOnce))
        {
            progress.Token.ThrowIfCancellationRequested();
            using (var batch = session.Capture(examples, LossKind.Training))
            {
                if (!JoinedBatches.Takes(batch))
                {
                    FlushWaiting();
                    AddProducts(batch);
                }
                else
                {
                    waiting.Add(batch);
                }
            }

            if (waiting.Count >= _planner.ExamplesToJoin(waiting.NumbersPerExample + queries.Count))
            {
                FlushWaiting();
            }

            progress.Add(examples.Count);
        }

        FlushWaiting();

        void FlushWaiting()
        {
            if (waiting.Count > 0)
            {
                using var joined = waiting.Take();
                AddProducts(joined);
            }
        }

        void AddProducts(BatchGradients batch)
        {
            var squares = cosine ? zeros([batch.Count], batch.Dtype, batch.Device) : null;
            var products = queries.Dot(batch, squares);                                 // [Q, B]
            if (queryNorms is not null && squares is not null)
            {
                var norms = queryNorms * squares.sqrt_().unsqueeze(0);                  // [Q, B]
                products = (products / norms).masked_fill(norms.eq(0), 0);
            }

            if (AnyNotFinite(products))
            {
                ThrowNotFinite(products, batch.Ids, queryIds);
            }

            totals.narrow(1, first, batch.Count).add_(products.cpu(), weight);
            first += batch.Count;
        }
    }

    /// <summary>Looks at two examples' gradients and decides for all of them.</summary>
    private (Contraction[] Plan, long QueriesAtOnce, int ExamplesAtOnce) Plan(Examples examples, LossKind kind)
    {
        foreach (var first in examples.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            using var batch = session.Capture(first.Pick([.. Enumerable.Range(0, Math.Min(2, first.Count))]), kind);
            var plan = _planner.Plan(batch.Blocks, examples.Count);
            var queriesAtOnce = _planner.QueriesAtOnce(batch.Blocks, plan, examples.Count);
            if (kind == LossKind.Measurement)
            {
                Log.Planned(session.Task.Logger, string.Join(", ", session.Blocks.Zip(plan, (b, c) => $"{b.Name}: {c}")), queriesAtOnce);
            }

            return (plan, queriesAtOnce, _planner.ExamplesAtOnce(batch.Blocks));
        }

        throw new InfluenceException("There are no examples.");
    }

    /// <summary>The batches, cut where they are larger than the limit.</summary>
    private static IEnumerable<ExampleBatch> SubBatches(Examples examples, int atOnce)
    {
        foreach (var batch in examples.Batches())
        {
            if (batch.Count <= atOnce)
            {
                yield return batch;
                continue;
            }

            for (var start = 0; start < batch.Count; start += atOnce)
            {
                var part = Part(batch, start, Math.Min(atOnce, batch.Count - start));
                try
                {
                    yield return part;
                }
                finally
                {
                    foreach (var tensor in part.Tensors)
                    {
                        tensor.Dispose();
                    }
                }
            }
        }

        // Detached: an iterator that kept a scope open would close it in the middle of its caller's.
        static ExampleBatch Part(ExampleBatch batch, int start, int count)
        {
            using var scope = NewDisposeScope();
            var part = batch.Pick([.. Enumerable.Range(start, count)]);
            foreach (var tensor in part.Tensors)
            {
                scope.Detach(tensor);
            }

            return part;
        }
    }

    /// <summary>Zero times a number is zero unless the number is NaN or infinite: two fast passes, where isfinite() takes ten.</summary>
    private static bool AnyNotFinite(Tensor values) => !(values * 0).sum().eq(0).item<bool>();

    /// <summary>
    /// Names the culprits: examples with no finite product at all, on either side; failing that, the pairs whose product
    /// is too large.
    /// </summary>
    private static void ThrowNotFinite(Tensor products, IReadOnlyList<long> trainIds, IReadOnlyList<long> queryIds)
    {
        var bad = products.isfinite().logical_not();                                    // [Q, B]
        var train = Where(bad.all(0), trainIds);
        var queries = queryIds.Count == 0 ? [] : Where(bad.all(1), queryIds);
        var found = train.Count > 0 || queries.Count > 0
            ? string.Join(" and ", new[] { Named("training examples", train), Named("queries", queries) }.OfType<string>())
            : $"{Named("training examples", Where(bad.any(0), trainIds))} times those of {Named("queries", Where(bad.any(1), queryIds))}";
        throw new InfluenceException(
            $"The gradients of {found} are NaN or too large for {products.dtype}, though the losses are finite. " +
            "Look at their inputs, leave them out, or use a float64 model.")
        {
            ExampleIds = [.. train.Count > 0 || queries.Count > 0 ? train.Concat(queries) : Where(bad.any(0), trainIds)],
        };

        static List<long> Where(Tensor flags, IReadOnlyList<long> ids)
        {
            var values = flags.to_type(ScalarType.Int64).cpu().data<long>().ToArray();
            return [.. ids.Where((_, i) => values[i] != 0)];
        }

        static string? Named(string role, List<long> ids) => ids.Count == 0 ? null : $"the {role} with ids {InfluenceException.List(ids)}";
    }
}
