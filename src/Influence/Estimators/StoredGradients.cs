using Influence.Curvature;
using Influence.Gradients;
using Influence.Stores;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Scores from a <see cref="GradientStore"/>: the queries pass the model, the training examples are only read. With p(z) the projected gradient,
/// <code>s(z, q) = p(q) . p(z)                          dot product, or divided by both exact norms
/// s(z, q) = sum over layers of p(q)' (H + damping I)^-1 p(z),   H = 1/N sum over z of p(z) p(z)'       LoGRA, with Damping</code>
/// Where nothing is projected (a Dimension that no side exceeds), the dot product is that of <see cref="TracIn"/> without checkpoints.
/// </summary>
/// <remarks>
/// <para>
/// H is the empirical Fisher matrix of each layer in its k^2 dimensions, a weight and its bias apart; its inverse is applied to the queries, so the
/// training examples are read once to fit and once to score. An exact H of that layer is not the curvature that
/// <see cref="InfluenceFunction"/> inverts: labels are the data's.
/// </para>
/// <para>
/// Cost: one pass of the queries, and Q N K operations; with damping N k^4 + k^6 a layer more. Memory: Q K numbers, one shard, and with damping
/// matrices of k^4 numbers, of as many layers at a time as fit <see cref="MemoryBudget"/>, the store read once for each such group.
/// Reference: Choe et al., "What is Your Data Worth to GPT? LLM-Scale Data Valuation with Influence Functions", 2024 (LoGRA).
/// </para>
/// </remarks>
public sealed partial record StoredGradients : IPairEstimator
{
    /// <summary>Scores from a store.</summary>
    /// <param name="store">A complete one.</param>
    public StoredGradients(GradientStore store)
    {
        ArgumentNullException.ThrowIfNull(store);
        Store = store;
    }

    /// <summary>The store.</summary>
    public GradientStore Store { get; }

    /// <summary>Dot product or cosine; the cosine takes the projected product and the exact norms.</summary>
    /// <value><see cref="TracIn.GradientSimilarity.Dot"/>.</value>
    public TracIn.GradientSimilarity Similarity
    {
        get;
        init => field = Check.Defined(value);
    } = TracIn.GradientSimilarity.Dot;

    /// <summary>The damping of each layer's empirical Fisher matrix; <c>Damping.Default</c> is that of LoGRA, a tenth of the mean eigenvalue.</summary>
    /// <value>Null: no curvature.</value>
    /// <exception cref="InfluenceException">Zero.</exception>
    public Damping? Damping
    {
        get;
        init => field = value is null || value.Value > 0
            ? value
            : throw new InfluenceException("Damping is above 0, since the matrices have as many directions as were seen only; write Damping = Damping.Default, or leave it out for dot products.");
    }

    /// <summary>Bytes that written-out gradients, and matrices, may take. Cost only.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    private bool Cosine => Similarity == TracIn.GradientSimilarity.Cosine;

    private string Name => Damping is not null ? "LoGRA" : Cosine ? "stored gradient cosine" : "stored gradient dot product";

    /// <summary>Scores every example of the store for every query, and keeps all scores in memory.</summary>
    /// <param name="task">The model, with the weights that the store was written with. It is left as it was found.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each shard.</param>
    /// <param name="cancellationToken">Checked between batches and shards.</param>
    /// <returns><c>[Q, N]</c>, float64 where the store is, else float32; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, other weights or layers than the store's, or a damaged shard, which is named.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public InfluenceScores Score(InfluenceTask task, Examples queries, IProgress<InfluenceProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        using var sink = new DenseSink();
        return sink.Finish(Run(sink, task, Store.Ids, queries, progress, cancellationToken));
    }

    /// <summary>Scores every example of the store for every query, and keeps the k proponents and the k opponents of each, in memory Q k beside one shard.</summary>
    /// <inheritdoc cref="Score"/>
    /// <param name="k">How many of each kind, 1 to N.</param>
    /// <param name="task">The model, with the weights that the store was written with. It is left as it was found.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each shard.</param>
    /// <param name="cancellationToken">Checked between batches and shards.</param>
    /// <returns>The rankings, in plain memory.</returns>
    public StrongestExamples Strongest(
        int k, InfluenceTask task, Examples queries, IProgress<InfluenceProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        if (k < 1 || k > Store.Ids.Count)
        {
            throw new InfluenceException($"k, how many examples to keep for each query, lies between 1 and the number of the store's examples, {Store.Ids.Count}; found {k}.");
        }

        using var sink = new StrongestSink(k);
        return sink.Finish(Run(sink, task, Store.Ids, queries, progress, cancellationToken));
    }

    /// <inheritdoc/>
    /// <remarks>The training examples are the store's by their ids, all or some, in its order; of their data only the first is read, to see that it is the store's.</remarks>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(sink);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        Store.CheckData(task, train, Wanted(train.Ids)[0]);
        return Run(sink, task, train.Ids, queries, progress, cancellationToken);
    }

    private ScoreMetadata Run(
        ScoreSink sink, InfluenceTask task, IReadOnlyList<long> trainIds, Examples queries, IProgress<InfluenceProgress>? progress, CancellationToken token)
    {
        ExampleChecks.Run(task, (queries, "queries"));
        if (Cosine && Damping is not null)
        {
            throw new InfluenceException("The exact norms are without curvature, so a cosine with damping has none to divide by. Leave Damping or Similarity out.");
        }

        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var wanted = Wanted(trainIds);
        var groups = Damping is null ? [] : Groups();
        var reporter = new ProgressReporter(progress, "scoring", 1, Store.Ids.Count, token);
        reporter.ExpectPasses(groups.Count + 1);
        var (rows, norms, _, coverage) = Store.Project(task, queries, MemoryBudget, token);      // [Q, K]
        foreach (var group in groups)
        {
            Precondition(rows, group, reporter);
        }

        sink.Begin(queries.Ids, trainIds, Store.Dtype);
        var at = 0;
        var lengths = tensor(norms).to_type(Store.Dtype).unsqueeze(1);                      // [Q, 1]
        Store.Scan(
            rows,
            (first, products, map) =>
            {
                if (Cosine)
                {
                    var both = lengths * tensor(map.Norms).to_type(Store.Dtype).unsqueeze(0);
                    products = products.div_(both.where(both > 0, ones_like(both)));
                }

                var chosen = wanted.Skip(at).TakeWhile(p => p < first + map.Count).Select(p => (long)p - first).ToArray();
                sink.Add(0, at, chosen.Length < map.Count ? products.index_select(1, tensor(chosen)) : products);
                at += chosen.Length;
                reporter.Add(map.Count);
            },
            shard => at < wanted.Count && wanted[at] < shard.First + shard.Count,
            token);
        Log.Scored(task.Logger, Name, queries.Count, trainIds.Count, 1, reporter.Elapsed.TotalSeconds);
        return Metadata(task, coverage);
    }

    /// <summary>The rows of some examples of the store, ascending.</summary>
    private List<int> Wanted(IReadOnlyList<long> ids)
    {
        var positions = new List<int>(ids.Count);
        var next = 0;
        foreach (var id in ids)
        {
            while (next < Store.Ids.Count && Store.Ids[next] != id)
            {
                next++;
            }

            if (next == Store.Ids.Count)
            {
                throw new InfluenceException(
                    $"The training examples are the store's, all or some, in its order; the one with id {id} is not in {Store.Folder}, or comes earlier there. " +
                    "Write Score(task, queries) for all of the store's.");
            }

            positions.Add(next++);
        }

        return positions;
    }

    /// <summary>Layers whose matrices fit the budget together; columns from, and how many.</summary>
    private List<List<(long First, long Size)>> Groups()
    {
        var groups = new List<List<(long First, long Size)>>();
        var (first, bytes) = (0L, double.PositiveInfinity);
        foreach (var layer in Store.Layers)
        {
            var size = layer.Size();
            var more = 3.0 * sizeof(double) * size * size;      // the matrix, its damped copy and its factors
            if (bytes + more > MemoryBudget)
            {
                groups.Add([]);
                bytes = 0;
            }

            groups[^1].Add((first, size));
            bytes += more;
            first += size;
        }

        return groups;
    }

    /// <summary>Replaces the queries' columns of some layers by (H + damping I)^-1 times them.</summary>
    private void Precondition(Tensor rows, List<(long First, long Size)> layers, ProgressReporter reporter)
    {
        using var scope = NewDisposeScope();
        var fishers = layers.Select(layer => zeros([layer.Size, layer.Size], ScalarType.Float64)).ToList();
        Store.Read(
            (_, train, _) =>
            {
                for (var l = 0; l < layers.Count; l++)
                {
                    using var step = NewDisposeScope();
                    var columns = train.narrow(1, layers[l].First, layers[l].Size).to_type(ScalarType.Float64);      // [n, k]
                    fishers[l].addmm_(columns.t(), columns);
                }

                reporter.Add((int)train.shape[0]);
            },
            reporter.Token);
        for (var l = 0; l < layers.Count; l++)
        {
            using var step = NewDisposeScope();
            fishers[l].div_(Store.Ids.Count);
            var damping = Damping!.For(fishers[l].trace().item<double>() / layers[l].Size);
            if (damping > 0)
            {
                // Where no training example has a gradient there is nothing to divide by, and every product is zero.
                fishers[l].diagonal(0).add_(damping);
                var columns = rows.narrow(1, layers[l].First, layers[l].Size);
                columns.copy_(linalg.solve(fishers[l], columns.to_type(ScalarType.Float64).t()).t());
            }
        }
    }

    private ScoreMetadata Metadata(InfluenceTask task, ParameterCoverage coverage) => new()
    {
        Estimator = Name,
        Checkpoints = "the weights that the store was written with, weight 1",
        Unit = Cosine ? "cosine, of the projected product and exact norms"
            : Damping is null ? "fall of the measurement, to first order, by one SGD step on the example alone"
            : "fall of the measurement, to first order, when the example's weight in the sum of losses grows by N",
        Curvature = Damping is null ? string.Empty : "empirical Fisher matrix of each layer's projected gradients",
        Damping = Damping?.ToString() ?? string.Empty,
        LeaveOneOutFactor = Damping is null ? null : 1.0 / Store.Ids.Count,
        Layers = task.Layers.Description,
        Coverage = coverage.Fraction,
        Notes = string.Join(
            " ",
            new[] { coverage.Notes, FormattableString.Invariant($"Projected to at most {Store.Projection.Dimension} dimensions a side, seed {Store.Projection.Seed}, stored as {Store.Projection.Dtype}.") }
                .Where(note => note.Length > 0)),
    };
}
