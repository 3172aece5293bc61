using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Runs queries and training examples through a session and adds up the products of their gradients, in bounded memory.
/// </summary>
/// <param name="session">An open session.</param>
/// <param name="memoryBudget">Bytes that kept query gradients and written-out gradients may take.</param>
/// <param name="metric">The inner product; it stays the caller's.</param>
/// <param name="normalization">What products are divided by.</param>
/// <param name="factors">What the products of each block of the session are multiplied by, its learning rate for instance; null for ones.
/// Norms are without them.</param>
/// <param name="arithmetic">How the matrix products of many queries with many examples are reckoned; null: in the gradients' own type. One
/// query's products, norms and searches are in that always.</param>
internal sealed partial class GradientProducts(
    GradientSession session,
    long memoryBudget,
    GradientMetric metric,
    Normalization normalization,
    IReadOnlyList<double>? factors = null,
    ProductArithmetic? arithmetic = null
)
{
    private readonly double[] _factors = factors is null ? [1] : [.. factors.Distinct()];
    private readonly ContractionPlanner _planner = new(memoryBudget, session.Dtype == ScalarType.Float64 ? 8 : 4);

    private const string QueryPass = "query pass";
    private const string TrainingPass = "training pass";
    private const string Preconditioning = "preconditioning";

    private bool Cosine => normalization == Normalization.Cosine;

    /// <summary>Adds weight times every product of a query's with a training example's gradient.</summary>
    /// <param name="totals"><c>[Q, N]</c> on the CPU, in the model's dtype; or one for each block of the session.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is differentiated.</param>
    /// <param name="weight">The factor, a learning rate for instance.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="totalOf">Which of several totals a block goes to; null: a block's own.</param>
    public void AddPairs(
        IReadOnlyList<Tensor> totals,
        Examples train,
        Examples queries,
        double weight,
        ProgressReporter progress,
        Func<int, int>? totalOf = null
    ) => Pairs(totals.Count, Adding(totals, weight), train, queries, progress, totalOf);

    /// <summary>Hands on every product of a query's with a training example's gradient, for some queries at a time.</summary>
    /// <param name="take">Takes the first query's row, the first training example's column, and products <c>[q, b]</c> on the CPU, column
    /// after column.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is differentiated.</param>
    /// <param name="progress">Told after each batch.</param>
    public void Pairs(Action<long, long, Tensor> take, Examples train, Examples queries, ProgressReporter progress) =>
        Pairs(1, (_, query, first, products) => take(query, first, products), train, queries, progress);

    /// <summary>Finds the strongest pairs of each query, with exact scores; the others are not scored where that saves work.</summary>
    /// <param name="found">Where they go.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries; their measurement is differentiated.</param>
    /// <param name="progress">Told after each batch.</param>
    public void Strongest(IStrongestPairs found, Examples train, Examples queries, ProgressReporter progress)
    {
        using var search = new StrongestSearch(found);
        Pairs(1, (_, _, _, _) => { }, train, queries, progress, search: search);
    }

    private void Pairs(
        int parts,
        Action<int, long, long, Tensor> take,
        Examples train,
        Examples queries,
        ProgressReporter progress,
        Func<int, int>? totalOf = null,
        StrongestSearch? search = null
    )
    {
        using var noGrad = no_grad();
        var unchanged = new UnchangedWeights(session.Task.Model);
        var (plan, capacity, examplesAtOnce) = Plan(train, queries, strongest: search is not null);
        using var source = session.Batches(queries, LossKind.Measurement, (int)Math.Min(capacity, examplesAtOnce)).GetEnumerator();
        long done = 0;
        var more = source.MoveNext();
        while (more)
        {
            // Keep as many queries as fit, then stream the training examples past them.
            using var kept = NewDisposeScope();
            var block = new QueryGradients(
                plan,
                _planner,
                Math.Min(capacity, queries.Count - done),
                kept,
                search is null ? arithmetic : null
            );
            while (more && block.Count + source.Current.Count <= capacity)
            {
                Keep(block, source.Current, progress);
                more = source.MoveNext();
            }

            block.Complete();
            progress.ExpectPasses((queries.Count + capacity - 1) / capacity);
            IReadOnlyList<long> ids = [.. queries.Ids.Skip((int)done).Take((int)block.Count)];
            var row = done;
            Stream(
                parts,
                (part, first, products) => take(part, row, first, products),
                block,
                train,
                ids,
                examplesAtOnce,
                progress,
                totalOf: totalOf,
                search: search is null ? null : (met, first) => search.Take(block, met, (int)row, (int)first, ids)
            );
            done += block.Count;
        }

        unchanged.Check();
    }

    /// <summary>Adds every product of the summed queries' with a training example's gradient.</summary>
    /// <param name="totals"><c>[1, N]</c>, as for pairs.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="weight">The factor; 1/Q for the mean.</param>
    /// <param name="progress">Told after each batch.</param>
    public void AddSummed(IReadOnlyList<Tensor> totals, Examples train, Examples queries, double weight, ProgressReporter progress) =>
        Summed(totals.Count, Adding(totals, weight), train, queries, progress);

    /// <summary>Hands on weight times every product of the summed queries' with a training example's gradient.</summary>
    /// <param name="take">As for pairs, with row 0.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="weight">The factor; 1/Q for the mean.</param>
    /// <param name="progress">Told after each batch.</param>
    public void Summed(Action<long, long, Tensor> take, Examples train, Examples queries, double weight, ProgressReporter progress) =>
        Summed(1, (_, query, first, products) => take(query, first, products.mul_(Kept(weight))), train, queries, progress);

    private void Summed(int parts, Action<int, long, long, Tensor> take, Examples train, Examples queries, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        var unchanged = new UnchangedWeights(session.Task.Model);
        var (_, _, examplesAtOnce) = Plan(train, queries);
        using var kept = NewDisposeScope();
        using var sum = Sum(queries, examplesAtOnce, progress);
        using var total = sum.Take();
        One(parts, take, train, total, examplesAtOnce, kept, progress);
        unchanged.Check();
    }

    /// <summary>The same for some training examples after others, past queries that are taken once where they fit the budget.</summary>
    /// <param name="run">Is given what hands on the products of some training examples, whose columns count from their first; it calls it
    /// as often as it wants.</param>
    /// <param name="train">All training examples: the forms of the products are chosen by the first of them.</param>
    /// <param name="queries">Q queries; their measurement is differentiated.</param>
    /// <param name="progress">Told after each batch.</param>
    public void PairsByUnit(
        Action<Action<Examples, Action<long, long, Tensor>>> run,
        Examples train,
        Examples queries,
        ProgressReporter progress
    )
    {
        using var noGrad = no_grad();
        var (plan, capacity, examplesAtOnce) = Plan(train, queries);
        if (capacity < queries.Count)
        {
            run((part, take) => Pairs(take, part, queries, progress));
            return;
        }

        var unchanged = new UnchangedWeights(session.Task.Model);
        using var kept = NewDisposeScope();
        using var block = new QueryGradients(plan, _planner, queries.Count, kept, arithmetic);
        foreach (var examples in session.Batches(queries, LossKind.Measurement, examplesAtOnce))
        {
            Keep(block, examples, progress);
        }

        block.Complete();
        run(
            (part, take) =>
            {
                Stream(1, (_, first, products) => take(0, first, products), block, part, queries.Ids, examplesAtOnce, progress);
                unchanged.Check();
            }
        );
    }

    /// <summary>The same for the summed queries, in one row.</summary>
    /// <param name="run">As for pairs.</param>
    /// <param name="train">All training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="weight">The factor; 1/Q for the mean.</param>
    /// <param name="progress">Told after each batch.</param>
    public void SummedByUnit(
        Action<Action<Examples, Action<long, long, Tensor>>> run,
        Examples train,
        Examples queries,
        double weight,
        ProgressReporter progress
    )
    {
        using var noGrad = no_grad();
        var unchanged = new UnchangedWeights(session.Task.Model);
        var (_, _, examplesAtOnce) = Plan(train, queries);
        using var sum = Sum(queries, examplesAtOnce, progress);
        using var total = sum.Take();
        using var kept = NewDisposeScope();
        using var applied = Preconditioned(() => metric.Written(total));
        using var block = Alone(applied, total, kept);
        run(
            (part, take) =>
            {
                Stream(
                    1,
                    (_, first, products) => take(0, first, products.mul_(Kept(weight))),
                    block,
                    part,
                    [-1],
                    examplesAtOnce,
                    progress,
                    meet: false
                );
                unchanged.Check();
            }
        );
    }

    private GradientSum Sum(Examples queries, int examplesAtOnce, ProgressReporter progress)
    {
        var sum = new GradientSum(session);
        foreach (var examples in session.Batches(queries, LossKind.Measurement, examplesAtOnce))
        {
            progress.Token.ThrowIfCancellationRequested();
            using var stage = CostMeter.Stage(QueryPass);
            using var batch = session.Capture(examples, LossKind.Measurement);
            sum.Add(batch);
        }

        return sum;
    }

    /// <summary>Adds the product of one gradient with every training example's.</summary>
    /// <param name="totals"><c>[1, N]</c>, as for pairs.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="gradient">One example's blocks, written out.</param>
    /// <param name="weight">The factor.</param>
    /// <param name="progress">Told after each batch.</param>
    public void AddOne(Tensor totals, Examples train, BatchGradients gradient, double weight, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        var (_, _, examplesAtOnce) = Plan(train, null);
        using var kept = NewDisposeScope();
        One(1, Adding([totals], weight), train, gradient, examplesAtOnce, kept, progress);
    }

    private static Action<int, long, long, Tensor> Adding(IReadOnlyList<Tensor> totals, double weight) =>
        (part, query, first, products) =>
            totals[part].narrow(0, query, products.shape[0]).narrow(1, first, products.shape[1]).add_(products, Kept(weight));

    private void One(
        int parts,
        Action<int, long, long, Tensor> take,
        Examples train,
        BatchGradients gradient,
        int examplesAtOnce,
        DisposeScope kept,
        ProgressReporter progress
    )
    {
        using var applied = Preconditioned(() => metric.Written(gradient));
        using var block = Alone(applied, gradient, kept);
        Stream(parts, (part, first, products) => take(part, 0, first, products), block, train, [-1], examplesAtOnce, progress, meet: false);
    }

    /// <summary>One gradient, to which the metric has been applied, as the only query.</summary>
    private QueryGradients Alone(BatchGradients applied, BatchGradients gradient, DisposeScope kept)
    {
        var block = new QueryGradients([.. applied.Blocks.Select(_ => Contraction.Factored)], _planner, 1, kept);
        block.Add(applied, Cosine ? metric.SelfProducts(gradient) : null);
        return block;
    }

    /// <summary>Adds weight times every training example's product with itself.</summary>
    /// <param name="totals"><c>[N]</c> on the CPU, in the model's dtype.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="weight">The factor, a learning rate for instance.</param>
    /// <param name="progress">Told after each batch.</param>
    public void AddSelf(Tensor totals, Examples train, double weight, ProgressReporter progress) =>
        AddSelf(totals, train, weight, squares => squares, progress);

    /// <summary>Adds weight times every training example's product with itself at labels that are drawn from the model, by the session's
    /// seed.</summary>
    /// <param name="totals"><c>[N]</c> on the CPU, in the model's dtype.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="weight">The factor.</param>
    /// <param name="progress">Told after each batch.</param>
    public void AddSampledSelf(Tensor totals, Examples train, double weight, ProgressReporter progress) =>
        AddSelf(totals, train, weight, squares => squares, progress, LossKind.Sampled);

    /// <summary>Adds weight times the root of every training example's product with itself: its gradient's norm in the metric.</summary>
    /// <param name="totals"><c>[N]</c> on the CPU, in the model's dtype.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="weight">The factor.</param>
    /// <param name="progress">Told after each batch.</param>
    public void AddNorms(Tensor totals, Examples train, double weight, ProgressReporter progress) =>
        // a ghost norm of zero may round to below it
        AddSelf(totals, train, weight, squares => squares.clamp_min(Kept(0)).sqrt(), progress);

    private void AddSelf(
        Tensor totals,
        Examples train,
        double weight,
        Func<Tensor, Tensor> map,
        ProgressReporter progress,
        LossKind kind = LossKind.Training
    )
    {
        using var noGrad = no_grad();
        var unchanged = new UnchangedWeights(session.Task.Model);
        var (_, _, examplesAtOnce) = Plan(train, null);
        long first = 0;
        foreach (var examples in session.Batches(train, kind, examplesAtOnce))
        {
            progress.Token.ThrowIfCancellationRequested();
            using var stage = CostMeter.Stage(TrainingPass);
            using var batch = session.Capture(examples, kind);
            var norms = SelfProducts(batch);
            if (FiniteProducts.AnyNotFinite(norms))
            {
                FiniteProducts.ThrowNotFinite(norms.unsqueeze(0), examples.Ids, []);
            }

            totals.narrow(0, first, batch.Count).add_(map(norms).cpu(), Kept(weight));
            first += batch.Count;
            progress.Add(batch.Count);
        }

        unchanged.Check();
    }

    /// <summary>The products of a batch's gradients with themselves, <c>[B]</c>, with the blocks' factors.</summary>
    private Tensor SelfProducts(BatchGradients batch)
    {
        if (factors is null)
        {
            return metric.SelfProducts(batch);
        }

        var total = zeros([batch.Count], batch.Dtype, batch.Device);
        for (var k = 0; k < batch.Blocks.Count; k++)
        {
            if (batch.Blocks[k] is { } block && factors[k] != 0)
            {
                using var scope = NewDisposeScope();
                using var one = new BatchGradients(NewDisposeScope(), batch.Ids, batch.Dtype, batch.Device) { Blocks = [block] };
                total.add_(metric.SelfProducts(one), Kept(factors[k]));
            }
        }

        return total;
    }

    /// <summary>What each example's products are divided by the root of, <c>[B]</c>; null for nothing.</summary>
    private Tensor? Squares(BatchGradients batch) =>
        normalization switch
        {
            Normalization.None => null,
            Normalization.ThetaRelative => metric.SquaredNorms(batch),
            _ => metric.SelfProducts(batch),
        };

    private BatchGradients Preconditioned(Func<BatchGradients> apply)
    {
        using var stage = metric.IsEuclidean ? default : CostMeter.Stage(Preconditioning);
        return apply();
    }

    private void Keep(QueryGradients block, ExampleBatch examples, ProgressReporter progress)
    {
        progress.Token.ThrowIfCancellationRequested();
        using var stage = CostMeter.Stage(QueryPass);
        using var batch = session.Capture(examples, LossKind.Measurement);
        Keep(block, batch);
    }

    private void Keep(QueryGradients block, BatchGradients batch)
    {
        if (metric.IsEuclidean)
        {
            block.Add(batch, withNorms: Cosine);
            return;
        }

        var squares = Cosine ? metric.SelfProducts(batch) : null;
        using var applied = Preconditioned(() => metric.Apply(batch));
        block.Add(applied, squares);
    }

    private void Stream(
        int parts,
        Action<int, long, Tensor> take,
        QueryGradients queries,
        Examples train,
        IReadOnlyList<long> queryIds,
        int examplesAtOnce,
        ProgressReporter progress,
        bool meet = true,
        Func<int, int>? totalOf = null,
        Action<BatchGradients, long>? search = null
    )
    {
        var queryNorms = Cosine ? queries.Norms().unsqueeze(1) : null; // [Q, 1]
        if (queryNorms is not null && FiniteProducts.AnyNotFinite(queryNorms))
        {
            FiniteProducts.ThrowNotFinite(queryNorms, [], queryIds);
        }

        long first = 0;
        using var stage = CostMeter.Stage(TrainingPass);
        using var waiting = new JoinedBatches();
        foreach (var examples in session.Batches(train, LossKind.Training, examplesAtOnce))
        {
            progress.Token.ThrowIfCancellationRequested();
            using (var batch = session.Capture(examples, LossKind.Training))
            {
                var room = JoinedBatches.Takes(batch) ? Room(JoinedBatches.NumbersPerExample(batch)) : 0;
                if (waiting.Count > 0 && waiting.Count + batch.Count > room)
                {
                    FlushWaiting();
                }

                if (batch.Count < room)
                {
                    waiting.Add(batch, room);
                }
                else
                {
                    AddProducts(batch);
                }
            }

            progress.Add(examples.Count);
        }

        FlushWaiting();

        // The strongest of more examples stand further out: a search takes as many as there is memory for.
        long Room(double numbers) =>
            Math.Min(
                train.Count,
                search is null
                    ? _planner.ExamplesToJoin(numbers + queries.Count)
                    : _planner.ExamplesToJoin(numbers + (4.0 * queries.Count), enough: long.MaxValue)
            );

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
            using var scope = NewDisposeScope();
            if (search is not null)
            {
                using var met = Preconditioned(() => metric.Meet(batch));
                search(met, first);
                first += batch.Count;
                return;
            }

            var squares = Cosine && metric.IsEuclidean ? zeros([batch.Count], batch.Dtype, batch.Device) : Squares(batch);
            var products = Enumerable
                .Range(0, parts * _factors.Length)
                .Select(_ => zeros([queries.Count, batch.Count], batch.Dtype, batch.Device))
                .ToArray();
            var alongTheWay = Cosine && metric.IsEuclidean ? squares : null;
            if (metric.IsEuclidean || !meet)
            {
                queries.AddDot(batch, Target, alongTheWay);
            }
            else
            {
                using var met = Preconditioned(() => metric.Meet(batch));
                queries.AddDot(met, Target);
            }

            CheckSquares(squares, batch.Ids);
            var norms = squares is null ? null : squares.sqrt().unsqueeze(0) * (queryNorms ?? 1); // [Q, B] or [1, B]
            for (var k = 0; k < parts; k++)
            {
                var sum = Weighted(products.AsSpan(k * _factors.Length, _factors.Length));
                var values = norms is null ? sum : (sum / norms).masked_fill(norms.eq(Kept(0)), Kept(0));
                using (Spans.Of("check: finite products"))
                {
                    if (FiniteProducts.AnyNotFinite(values))
                    {
                        FiniteProducts.ThrowNotFinite(values, batch.Ids, queryIds);
                    }
                }

                using var copies = Spans.Of("products handed on");
                take(k, first, values.cpu());
                Spans.Made(values);
            }

            first += batch.Count;

            Tensor Target(int k) =>
                products[
                    ((parts == 1 ? 0 : totalOf?.Invoke(k) ?? k) * _factors.Length)
                        + (factors is null ? 0 : Array.IndexOf(_factors, factors[k]))
                ];
        }
    }

    /// <summary>The sum of products, each times its factor; one whose factor is 0 does not count, even where it is not finite.</summary>
    private Tensor Weighted(ReadOnlySpan<Tensor> products)
    {
        if (factors is null)
        {
            return products[0];
        }

        using var span = Spans.Of("products weighted");
        var sum = zeros_like(products[0]);
        for (var f = 0; f < _factors.Length; f++)
        {
            if (_factors[f] != 0)
            {
                sum.add_(products[f], Kept(_factors[f]));
            }
        }

        return sum;
    }

    private static void CheckSquares(Tensor? squares, IReadOnlyList<long> ids)
    {
        if (squares is null)
        {
            return;
        }

        // Over an infinite norm a score would be zero.
        if (FiniteProducts.AnyNotFinite(squares))
        {
            FiniteProducts.ThrowNotFinite(squares.unsqueeze(0), ids, []);
        }

        if (!squares.lt(Kept(0)).any().item<bool>())
        {
            return;
        }

        var negative = squares.lt(Kept(0)).to_type(ScalarType.Int64).cpu().data<long>().ToArray();
        long[] bad = [.. ids.Where((_, i) => negative[i] != 0)];
        throw new InfluenceException(
            $"The self-influence of the training examples with ids {InfluenceException.List(bad)} is negative, so it has no root to "
                + "divide by: the damped curvature is not positive. "
                + "Write more damping, ask for CurvatureMatrix.GaussNewton, or leave Normalization at None."
        )
        {
            ExampleIds = bad,
        };
    }

    /// <summary>Looks at two examples' gradients of each side and decides for all of them.</summary>
    private (Contraction[] Plan, long QueriesAtOnce, int ExamplesAtOnce) Plan(Examples train, Examples? queries, bool strongest = false)
    {
        using var span = Spans.Of("planning");
        if (!metric.IsEuclidean)
        {
            return Planned(train, queries, strongest);
        }

        // Without a preconditioner it follows from shapes, which are this task's from call to call.
        var key = $"{memoryBudget} {queries?.Count} {session.Dtype} {string.Join('|', session.BlockNames)}";
        if (!session.Contractions.TryGetValue(key, out var plan))
        {
            session.Contractions[key] = plan = Planned(train, queries);
        }

        return plan;
    }

    private (Contraction[] Plan, long QueriesAtOnce, int ExamplesAtOnce) Planned(Examples train, Examples? queries, bool strongest = false)
    {
        using var scope = NewDisposeScope();
        using var sample = Sample(train, LossKind.Training);
        var examplesAtOnce = _planner.ExamplesAtOnce(sample.Blocks);
        if (queries is null)
        {
            return ([], 0, examplesAtOnce);
        }

        using var querySample = Sample(queries, LossKind.Measurement);
        var written = session.Parts.Sum(parts => parts.Sum(p => (double)p.Count)) * session.Dtype.ElementSize();
        var passes = (long)Math.Ceiling(queries.Count * written / _planner.QueryBytes);
        metric.Plan(querySample, new ScorePlan(queries.Count, passes, strongest));
        using var applied = metric.Outline(querySample);
        using var met = metric.Meet(sample);
        var plan = _planner.Plan(applied.Blocks, met.Blocks, queries.Count);
        var queriesAtOnce = _planner.QueriesAtOnce(applied.Blocks, plan, queries.Count);
        Log.Planned(
            session.Task.Logger,
            string.Join(", ", plan.Select((c, k) => $"{(plan.Length == session.BlockNames.Count ? session.BlockNames[k] : k)}: {c}")),
            queriesAtOnce
        );
        return (plan, queriesAtOnce, Math.Min(examplesAtOnce, _planner.ExamplesAtOnce(querySample.Blocks)));
    }

    private BatchGradients Sample(Examples examples, LossKind kind)
    {
        foreach (var first in examples.Batches().Take(1))
        {
            return session.CaptureSample(first.Pick([.. Enumerable.Range(0, Math.Min(2, first.Count))]), kind);
        }

        throw new InfluenceException("There are no examples.");
    }
}
