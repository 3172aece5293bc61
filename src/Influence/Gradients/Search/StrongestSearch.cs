using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The strongest pairs without all of the others' scores. In an eigenbasis a score takes O I operations; by R outer products in place of
/// the weights (<see cref="SpectralTerms"/>) it takes R (O + I), with an error of which a bound is known for each pair. What by that
/// bound can be among the k strongest of a query is scored again, exactly: the result is that of all scores.
/// </summary>
/// <remarks>
/// R is chosen by counted operations: a few queries are scored exactly, which shows how many examples each R would leave to score again.
/// Where none is worth it, because scores lie close together, all are scored exactly; it is asked again at the 2nd, 4th, 8th batch and so
/// on, since the k strongest of more examples stand further out.
/// </remarks>
/// <param name="found">Where scores go.</param>
internal sealed class StrongestSearch(IStrongestPairs found) : IDisposable
{
    /// <summary>Fewer queries are scored before the choice has paid.</summary>
    public const int FewestQueries = 64;

    private const int Sampled = 4;
    private const double WorthIt = 0.8;

    /// <summary>Scoring some examples again moves their factors, and writes the query's gradient: in units of the products.</summary>
    private const double AgainCost = 1.5;
    private const long RowsAtOnce = 512;
    private static readonly long[] s_ranks = [4, 8, 16, 32, 64];

    private readonly Dictionary<(SpectralWeights, long), SpectralTerms> _terms = [];
    private long _batches;
    private long _rank;

    /// <summary>Fixes R for tests; null: chosen.</summary>
    public long? Rank { private get; init; }

    /// <summary>How many pairs were scored exactly.</summary>
    public long ScoredExactly { get; private set; }

    /// <summary>Takes a batch.</summary>
    /// <param name="queries">Q queries.</param>
    /// <param name="batch">B training examples, as the metric has them meet the queries.</param>
    /// <param name="row">The first query's row.</param>
    /// <param name="column">The first training example's column.</param>
    /// <param name="queryIds">For messages.</param>
    public void Take(QueryGradients queries, BatchGradients batch, int row, int column, IReadOnlyList<long> queryIds)
    {
        using var scope = NewDisposeScope();
        var layers = LayersOf(queries, batch);
        Score(queries, batch, layers, row, column, queryIds);
        foreach (var layer in layers)
        {
            // What was made in this scope goes with it.
            batch.Blocks[layer.Block]!.Release();
        }
    }

    public void Dispose()
    {
        foreach (var terms in _terms.Values)
        {
            terms.Dispose();
        }
    }

    private void Score(QueryGradients queries, BatchGradients batch, List<Layer> layers, int row, int column, IReadOnlyList<long> queryIds)
    {
        var numbers = new Numbers(batch, layers, row, column, queryIds);
        if (layers.Count == 0 || (Rank is null && (queries.Count < FewestQueries || batch.Count < 4L * found.K)))
        {
            AddAll(numbers, queries.Dot(batch), []);
            return;
        }

        // What has no cheaper form is scored once, for all.
        var rest = zeros([queries.Count, batch.Count], batch.Dtype, batch.Device); // [Q, B]
        var own = layers.Select(layer => layer.Block).ToHashSet();
        queries.AddDot(batch, _ => rest, skip: own.Contains);
        long[] sample = [];
        _batches++;
        if (Rank is { } given)
        {
            _rank = given;
        }
        else if (long.IsPow2(_batches))
        {
            sample = [.. Enumerable.Range(0, Sampled).Select(s => s * (queries.Count - 1) / (Sampled - 1)).Distinct()];
            Choose(numbers, rest, sample);
        }

        var open = layers.Where(IsOpen).ToList();
        if (_rank == 0 || open.Count == 0)
        {
            queries.AddDot(batch, _ => rest, skip: block => !own.Contains(block));
            AddAll(numbers, rest, sample);
            return;
        }

        var openBlocks = open.Select(layer => layer.Block).ToHashSet();
        if (open.Count < layers.Count)
        {
            queries.AddDot(batch, _ => rest, skip: block => openBlocks.Contains(block) || !own.Contains(block));
        }

        Search(numbers, open, rest, sample);
    }

    /// <summary>Of a narrow layer all products cost no more than a few terms.</summary>
    private static bool IsOpen(Layer layer) => layer.Size > 12 * layer.Sides;

    private static long RankOf(Layer layer, long rank) => Math.Min(rank, (long)(layer.Size / (3 * layer.Sides)));

    private static List<Layer> LayersOf(QueryGradients queries, BatchGradients batch)
    {
        var layers = new List<Layer>();
        for (var k = 0; k < batch.Blocks.Count; k++)
        {
            if (
                batch.Blocks[k] is FactoredGradients { Positions: 1 } train
                && queries.FactorsOf(k) is { Weights: { Energy: not null } weights } query
                && query.First.shape[1] == 1
            )
            {
                layers.Add(
                    new Layer(
                        k,
                        query.First.squeeze(1),
                        query.Second.squeeze(1),
                        train.Activation.squeeze(1),
                        train.OutputGradient.squeeze(1),
                        weights
                    )
                );
            }
        }

        return layers;
    }

    private SpectralTerms TermsOf(Layer layer, long rank)
    {
        rank = RankOf(layer, rank);
        if (!_terms.TryGetValue((layer.Weights, rank), out var terms))
        {
            _terms.Add((layer.Weights, rank), terms = SpectralTerms.Of(layer.Weights.Weights, layer.Weights.Energy!, rank));
        }

        return terms;
    }

    /// <summary>Scores every pair but those of some queries, which were.</summary>
    private void AddAll(Numbers numbers, Tensor values, long[] done)
    {
        using var scope = NewDisposeScope();
        Check(values, numbers);
        var all = values.cpu(); // [Q, B]
        long first = 0;
        foreach (var next in done.Append(all.shape[0]))
        {
            if (next > first)
            {
                found.Add(numbers.Row + (int)first, numbers.Column, all.narrow(0, first, next - first));
            }

            first = next + 1;
        }

        ScoredExactly += all.numel();
    }

    private static void Check(Tensor values, Numbers numbers)
    {
        if (FiniteProducts.AnyNotFinite(values))
        {
            FiniteProducts.ThrowNotFinite(values, numbers.Batch.Ids, numbers.QueryIds);
        }
    }

    /// <summary>Scores a few queries exactly and counts what each R would cost with the thresholds that they end with.</summary>
    private void Choose(Numbers numbers, Tensor rest, long[] sample)
    {
        using var scope = NewDisposeScope();
        var (layers, b) = (numbers.Layers, (double)numbers.Batch.Count);
        var rows = tensor(sample, device: rest.device);
        var exact = layers
            .Select(layer => stack([.. sample.Select(q => Again([layer], q, null))], 0)) // [S, B]
            .ToList();
        var sum = exact.Aggregate(rest.index_select(0, rows), (total, own) => total + own);
        Check(sum, numbers with { QueryIds = [.. sample.Select(q => numbers.QueryIds[(int)q])] });
        var values = sum.cpu();
        for (var s = 0; s < sample.Length; s++)
        {
            found.Add(numbers.Row + (int)sample[s], numbers.Column, values.narrow(0, s, 1));
        }

        var (high, low) = Thresholds(numbers, sample, sum);
        var dense = b * layers.Sum(layer => layer.Size);
        var open = Enumerable.Range(0, layers.Count).Where(l => IsOpen(layers[l])).ToList();
        (_rank, var least) = (0, WorthIt * dense);
        foreach (var rank in s_ranks)
        {
            using var step = NewDisposeScope();
            var first = b * layers.Sum(layer => IsOpen(layer) ? (RankOf(layer, rank) + 1) * layer.Sides : layer.Size);
            if (open.Count == 0 || first > least)
            {
                break;
            }

            var (estimate, bound) = (sum.clone(), zeros_like(sum));
            foreach (var l in open)
            {
                var layer = layers[l];
                var picked = layer with { QueryA = layer.QueryA.index_select(0, rows), QueryD = layer.QueryD.index_select(0, rows) };
                estimate.sub_(exact[l]);
                AddEstimate(estimate, bound, picked, TermsOf(layer, rank));
            }

            var again = (estimate + bound).ge(high).logical_or_((estimate - bound).le(low)).sum().item<long>() / (double)sample.Length;
            var cost = first + (AgainCost * again * open.Sum(l => layers[l].Size));
            if (cost < least)
            {
                (_rank, least) = (rank, cost);
            }
        }
    }

    private (Tensor High, Tensor Low) Thresholds(Numbers numbers, long[] rows, Tensor like)
    {
        var bounds = rows.Select(q => found.BoundsOf(numbers.Row + (int)q)).ToArray();
        return (Column(bounds.Select(bound => bound.Highest)), Column(bounds.Select(bound => bound.Lowest)));

        Tensor Column(IEnumerable<double> values) => tensor(values.ToArray()).to(like.dtype, like.device).unsqueeze(1);
    }

    /// <summary>Estimates all, and scores exactly what the bounds leave: first the k highest and lowest estimates, which raise the
    /// threshold, then the others that may exceed it.</summary>
    private void Search(Numbers numbers, List<Layer> open, Tensor rest, long[] done)
    {
        using var scope = NewDisposeScope();
        var (estimates, bounds) = (zeros_like(rest), zeros_like(rest)); // [Q, B]
        foreach (var layer in open)
        {
            AddEstimate(estimates, bounds, layer, TermsOf(layer, _rank));
        }

        // The last sum, that of the exact scores, and estimate +- bound round too.
        estimates.add_(rest);
        bounds.add_(estimates.abs(), Kept(rest.dtype == ScalarType.Float64 ? 1e-15 : 5e-7));

        Check(estimates, numbers);
        var (q, b) = (estimates.shape[0], estimates.shape[1]);
        var k = Math.Min(found.K, b);
        for (long query = 0; query < q; query++)
        {
            if (done.Contains(query))
            {
                continue;
            }

            using var step = NewDisposeScope();
            var (estimate, bound) = (estimates.select(0, query), bounds.select(0, query)); // [B]
            var highest = estimate.topk((int)k).Item1.narrow(0, k - 1, 1);
            var lowest = estimate.topk((int)k, largest: false).Item1.narrow(0, k - 1, 1);
            var chosen = estimate.ge(highest).logical_or_(estimate.le(lowest));
            Offer(chosen);
            var (high, low) = found.BoundsOf(numbers.Row + (int)query);
            var left = (estimate + bound).ge(Kept(high)).logical_or_((estimate - bound).le(Kept(low)));
            Offer(left.logical_and_(chosen.logical_not()));
            found.Complete(numbers.Row + (int)query, numbers.Column, (int)b);

            void Offer(Tensor wanted)
            {
                var rows = wanted.nonzero().reshape(-1);
                if (rows.shape[0] > 0)
                {
                    var scores = Again(open, query, rows).add_(rest.select(0, query).index_select(0, rows));
                    var columns = (rows + Kept(numbers.Column)).cpu().data<long>().ToArray();
                    found.Offer(numbers.Row + (int)query, columns, scores.to_type(ScalarType.Float64).cpu().data<double>().ToArray());
                    ScoredExactly += columns.Length;
                }
            }
        }
    }

    /// <summary>Adds a layer's products by few terms, and what they are off by at most.</summary>
    private static void AddEstimate(Tensor estimates, Tensor bounds, Layer layer, SpectralTerms terms)
    {
        using var scope = NewDisposeScope();
        SpectralProducts.AddTerms(
            estimates,
            layer.QueryA.unsqueeze(1),
            layer.QueryD.unsqueeze(1),
            layer.TrainA.unsqueeze(1),
            layer.TrainD.unsqueeze(1),
            terms
        );
        terms.AddBounds(bounds, layer.QueryA, layer.QueryD, layer.TrainA, layer.TrainD);
    }

    /// <summary>The exact scores of a query with some examples, <c>[n]</c>; with all where none are named.</summary>
    private static Tensor Again(List<Layer> layers, long query, Tensor? rows)
    {
        using var scope = NewDisposeScope();
        var total = zeros([rows?.shape[0] ?? layers[0].TrainA.shape[0]], layers[0].TrainA.dtype, layers[0].TrainA.device);
        foreach (var layer in layers)
        {
            using var step = NewDisposeScope();
            var written = layer.QueryD.select(0, query).outer(layer.QueryA.select(0, query)).mul_(layer.Weights.Weights); // [O, I]
            for (long start = 0; start < total.shape[0]; start += RowsAtOnce)
            {
                using var piece = NewDisposeScope();
                var count = Math.Min(RowsAtOnce, total.shape[0] - start);
                var (a, d) = rows is null
                    ? (layer.TrainA.narrow(0, start, count), layer.TrainD.narrow(0, start, count))
                    : Picked(layer, rows.narrow(0, start, count));
                total.narrow(0, start, count).add_(d.mm(written).mul_(a).sum(1));
            }
        }

        return total.MoveToOuterDisposeScope();

        static (Tensor A, Tensor D) Picked(Layer layer, Tensor rows) =>
            (layer.TrainA.index_select(0, rows), layer.TrainD.index_select(0, rows));
    }

    /// <summary>A layer of one position in its eigenbasis, on both sides.</summary>
    private sealed record Layer(int Block, Tensor QueryA, Tensor QueryD, Tensor TrainA, Tensor TrainD, SpectralWeights Weights)
    {
        public double Size => (double)Weights.Weights.shape[0] * Weights.Weights.shape[1];

        public double Sides => (double)Weights.Weights.shape[0] + Weights.Weights.shape[1];
    }

    /// <summary>One call of <see cref="Take"/>.</summary>
    private sealed record Numbers(BatchGradients Batch, List<Layer> Layers, int Row, int Column, IReadOnlyList<long> QueryIds);
}
