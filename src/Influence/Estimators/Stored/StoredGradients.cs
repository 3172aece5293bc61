using Influence.Curvature;
using Influence.Gradients;
using Influence.Stores;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Scores from a <see cref="GradientStore"/>: the queries pass the model, the training examples are only read. With p(z) the projected
/// gradient,
/// <code>s(z, q) = p(q) . p(z)                          dot product, or divided by both exact norms
/// s(z, q) = sum over layers of p(q)' (H + damping I)^-1 p(z),   H = 1/N sum over z of p(z) p(z)'       LoGRA, with Damping</code>
/// Where nothing is projected (a Dimension that no side exceeds), the dot product is that of <see cref="TracIn"/> without checkpoints.
/// </summary>
/// <remarks>
/// <para>
/// H is the empirical Fisher matrix of each layer in its k^2 dimensions, a weight and its bias apart; its inverse is applied to the
/// queries, so the training examples are read once to fit and once to score. An exact H of that layer is not the curvature that
/// <see cref="InfluenceFunction"/> inverts: labels are the data's.
/// </para>
/// <para>
/// Cost: one pass of the queries, and Q N K operations; with damping N k^4 + k^6 a layer more. Memory: Q K numbers, one shard, and with
/// damping matrices of k^4 numbers, of as many layers at a time as fit <see cref="MemoryBudget"/>, the store read once for each such group.
/// Reference: Choe et al., "What is Your Data Worth to GPT? LLM-Scale Data Valuation with Influence Functions", 2024 (LoGRA).
/// </para>
/// </remarks>
public sealed partial record StoredGradients : IPairEstimator
{
    private readonly IReadOnlyList<GradientStore> _stores;
    private IReadOnlySet<long>? _only;

    /// <summary>Scores from a store.</summary>
    /// <param name="store">A complete one.</param>
    public StoredGradients(GradientStore store)
        : this([store ?? throw new ArgumentNullException(nameof(store))]) { }

    /// <summary>
    /// Sums over the members of a store: dot products times the learning rates of their checkpoints, or cosines times the rates' shares
    /// (LESS, where the members hold Adam's updates); means where there are no checkpoints, and with damping.
    /// </summary>
    /// <param name="members">Complete stores of the same examples, in the order of the checkpoints and models.</param>
    /// <exception cref="InfluenceException">None, or of other examples or projections.</exception>
    public StoredGradients(IReadOnlyList<GradientStore> members) => _stores = StoredMembers.Copy(members);

    /// <summary>The store; of several members the first.</summary>
    public GradientStore Store => _stores[0];

    /// <summary>The checkpoints of the task's model that the first members were written at. Copied.</summary>
    /// <value>Null: the model's current weights.</value>
    /// <exception cref="InfluenceException">An empty list.</exception>
    public IReadOnlyList<Checkpoint>? Checkpoints
    {
        get;
        init => field = CheckpointList.Copy(value, 1, "to sum over");
    }

    /// <summary>The models of the other members; where there are as many as members, the task's own is none of them. Copied.</summary>
    /// <value>None.</value>
    public IReadOnlyList<InfluenceTask> OtherModels
    {
        get;
        init => field = [.. value ?? throw new ArgumentNullException(nameof(value))];
    } = [];

    /// <summary>Dot product or cosine; the cosine takes the projected product and the exact norms.</summary>
    /// <value><see cref="TracIn.GradientSimilarity.Dot"/>.</value>
    public TracIn.GradientSimilarity Similarity
    {
        get;
        init => field = Check.Defined(value);
    } = TracIn.GradientSimilarity.Dot;

    /// <summary>The damping of each layer's empirical Fisher matrix; <c>Damping.Default</c> is that of LoGRA, a tenth of the mean
    /// eigenvalue.</summary>
    /// <value>Null: no curvature.</value>
    /// <exception cref="InfluenceException">Zero.</exception>
    public Damping? Damping
    {
        get;
        init =>
            field =
                value is null || value.Value > 0
                    ? value
                    : throw new InfluenceException(
                        "Damping is above 0, since the matrices have as many directions as were seen only; write "
                            + "Damping = Damping.Default, or leave it out for dot products."
                    );
    }

    /// <summary>Bytes that written-out gradients, and matrices, may take. Cost only.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    private bool Cosine => Similarity == TracIn.GradientSimilarity.Cosine;

    private bool Preconditioned => Store.Direction == GradientProjection.UpdateDirection.Preconditioned;

    private bool Less => Cosine && Store.Direction == GradientProjection.UpdateDirection.AdamUpdate;

    private IReadOnlyList<long> Chosen => _only is { } only ? [.. Store.Ids.Where(only.Contains)] : Store.Ids;

    private string Name =>
        Damping is not null ? "LoGRA"
        : Less ? "LESS"
        : Preconditioned && !Cosine ? "stored influence function"
        : Cosine ? "stored gradient cosine"
        : "stored gradient dot product";

    /// <summary>The same of some examples of the store alone; shards without any of them are not read. Curvature stays that of
    /// all.</summary>
    /// <param name="ids">Their ids.</param>
    /// <returns>The estimator, narrowed.</returns>
    /// <exception cref="InfluenceException">No id, or one that the store does not have.</exception>
    public StoredGradients Only(IEnumerable<long> ids)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var wanted = ids.ToHashSet();
        var unknown = wanted.Except(Store.Ids).ToList();
        if (wanted.Count == 0 || unknown.Count > 0)
        {
            throw new InfluenceException(
                wanted.Count == 0
                    ? "At least one id is needed; found none."
                    : $"The store in {Store.Folder} has no example with the id {InfluenceException.List(unknown)}."
            );
        }

        return this with
        {
            _only = _only is { } only ? wanted.Where(only.Contains).ToHashSet() : wanted,
        };
    }

    /// <summary>The same of the examples of some groups alone.</summary>
    /// <param name="groups">The groups; those of their ids that the store has count.</param>
    /// <param name="names">Which of them.</param>
    /// <returns>The estimator, narrowed.</returns>
    /// <exception cref="InfluenceException">No such group, or none of its examples in the store.</exception>
    public StoredGradients Only(ExampleGroups groups, params string[] names)
    {
        ArgumentNullException.ThrowIfNull(groups);
        ArgumentNullException.ThrowIfNull(names);
        return Only(Store.Ids.Intersect(names.SelectMany(name => groups[name])));
    }

    /// <summary>Scores every example of the store for every query, and keeps all scores in memory.</summary>
    /// <param name="task">The model, with the weights that the store was written with. It is left as it was found.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each shard.</param>
    /// <param name="cancellationToken">Checked between batches and shards.</param>
    /// <returns><c>[Q, N]</c>, float64 where the store is, else float32; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, other weights or layers than the store's, or a damaged shard, which is
    /// named.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public InfluenceScores Score(
        InfluenceTask task,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        using var sink = new DenseSink();
        return sink.Finish(Run(sink, task, Chosen, queries, progress, cancellationToken));
    }

    /// <summary>Scores every example of the store for every query, and keeps the k proponents and the k opponents of each, in memory Q k
    /// beside one shard.</summary>
    /// <inheritdoc cref="Score"/>
    /// <param name="k">How many of each kind, 1 to N.</param>
    /// <param name="task">The model, with the weights that the store was written with. It is left as it was found.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each shard.</param>
    /// <param name="cancellationToken">Checked between batches and shards.</param>
    /// <returns>The rankings, in plain memory.</returns>
    public StrongestExamples Strongest(
        int k,
        InfluenceTask task,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        if (k < 1 || k > Chosen.Count)
        {
            throw new InfluenceException(
                "k, how many examples to keep for each query, lies between 1 and the number of the store's "
                    + $"examples that are asked for, {Chosen.Count}; found {k}."
            );
        }

        using var sink = new StrongestSink(k);
        return sink.Finish(Run(sink, task, Chosen, queries, progress, cancellationToken));
    }

    /// <inheritdoc/>
    /// <remarks>The training examples are the store's by their ids, all or some, in its order; of their data only the first is read, to see
    /// that it is the store's.</remarks>
    public ScoreMetadata ScoreInto(
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(sink);
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        if (_only is { } only && train.Ids.Any(id => !only.Contains(id)))
        {
            throw new InfluenceException(
                "Only(...) leaves out some of the training examples that are to be scored. Leave one of the two out."
            );
        }

        return Run(sink, task, train.Ids, queries, progress, cancellationToken, train);
    }

    private ScoreMetadata Run(
        ScoreSink sink,
        InfluenceTask task,
        IReadOnlyList<long> trainIds,
        Examples queries,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token,
        Examples? train = null
    )
    {
        ExampleChecks.Run(task, (queries, "queries"));
        if (Cosine && Damping is not null)
        {
            throw new InfluenceException(
                "The exact norms are without curvature, so a cosine with damping has none to divide by. Leave "
                    + "Damping or Similarity out, or take TrackStar."
            );
        }

        if (Damping is not null && Preconditioned)
        {
            throw new InfluenceException(
                $"The store in {Store.Folder} has curvature in its gradients already ({Store.DirectionInWords}), and Damping would apply "
                    + "another. Leave Damping out."
            );
        }

        if (
            Damping is not null
            && !Store.IsByLayer
            && _stores.Any(store => 3.0 * sizeof(double) * store.Width * store.Width > MemoryBudget)
        )
        {
            throw new InfluenceException(
                $"The store in {Store.Folder} has projected the whole gradient, so its curvature is one matrix over {Store.Width:N0} "
                    + "numbers, more than MemoryBudget holds. Give a larger budget, or leave Damping out."
            );
        }

        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var members = new StoredMembers(_stores, Checkpoints, OtherModels);
        var wanted = members.Wanted(trainIds);
        var groups = Damping is null ? [] : Groups();
        using var reporter = new ProgressReporter(progress, "scoring", 1, Store.Ids.Count, token);
        reporter.ExpectPasses((groups.Count * members.Count) + 1);
        var (scans, lengths, coverage) = (new List<StoreScan>(), new List<Tensor>(), default(ParameterCoverage));
        var shares = Shares();
        members.ForEach(
            task,
            (store, model, m) =>
            {
                if (m == 0 && train is not null)
                {
                    store.CheckData(model, train, wanted[0]);
                }

                var (rows, norms, _, own) = store.Project(model, queries, MemoryBudget, token); // [Q, K]
                coverage ??= own;
                foreach (var group in groups)
                {
                    Precondition(store, rows, group, reporter);
                }

                scans.Add(new StoreScan(store, rows));
                lengths.Add(tensor(norms).to_type(Store.Dtype).unsqueeze(1)); // [Q, 1]
            }
        );
        sink.Begin(queries.Ids, trainIds, Store.Dtype);
        members.Blocks(
            sink,
            wanted,
            reporter,
            (maps, _) =>
            {
                Tensor? sum = null; // [Q, n]
                for (var m = 0; m < maps.Count; m++)
                {
                    var products = scans[m].Products(maps[m]);
                    if (Cosine)
                    {
                        var both = lengths[m] * tensor(maps[m].Norms).to_type(Store.Dtype).unsqueeze(0);
                        products = products.div_(both.where(both > zeros_like(both), ones_like(both)));
                    }

                    if (maps.Count > 1)
                    {
                        using Scalar share = Kept(shares[m]);
                        products.mul_(share);
                    }

                    using Scalar one = Kept(1);
                    sum = sum is null ? products : sum.add_(products, one);
                }

                return sum!;
            }
        );
        Log.Scored(task.Logger, Name, queries.Count, trainIds.Count, members.Count, reporter.Elapsed.TotalSeconds);
        return Metadata(task, coverage!);
    }

    /// <summary>What each member's scores are multiplied by where there are several.</summary>
    private double[] Shares()
    {
        if (Checkpoints is null || OtherModels.Count > 0 || Damping is not null || Preconditioned)
        {
            return [.. _stores.Select(_ => 1.0 / _stores.Count)];
        }

        if (Checkpoints.FirstOrDefault(c => !c.Rates.AreSame) is { } mixed)
        {
            throw new InfluenceException(
                $"The checkpoint {mixed.FilePath} has learning rates that differ by parameter ({mixed.Rates}), and stored rows are "
                    + "projected over several parameters, so that one number would weigh them all. Write TracIn, which weighs each "
                    + "parameter by its own rate, or give one rate by Checkpoint.FromFile(path, learningRate: ...)."
            );
        }

        double[] rates = [.. Checkpoints.Select(c => c.LearningRate)];
        var total = rates.Sum();
        return total > 0
            ? [.. rates.Select(rate => Cosine ? rate / total : rate)]
            : throw new InfluenceException(
                "The learning rates of all checkpoints are zero, and they weigh the members. Give rates with Checkpoint.FromFile(path, "
                    + "learningRate)."
            );
    }

    /// <summary>Layers whose matrices fit the budget together; columns from, and how many.</summary>
    private List<List<(long First, long Size)>> Groups()
    {
        var groups = new List<List<(long First, long Size)>>();
        var (first, bytes) = (0L, double.PositiveInfinity);
        foreach (var layer in Store.Layers)
        {
            var size = layer.Size();
            var more = 3.0 * sizeof(double) * size * size; // the matrix, its damped copy and its factors
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
    private void Precondition(GradientStore store, Tensor rows, List<(long First, long Size)> layers, ProgressReporter reporter)
    {
        using var scope = NewDisposeScope();
        var fishers = layers.Select(layer => zeros([layer.Size, layer.Size], ScalarType.Float64)).ToList();
        store.Read(
            (_, train, _) =>
            {
                for (var l = 0; l < layers.Count; l++)
                {
                    using var step = NewDisposeScope();
                    var columns = train.narrow(1, layers[l].First, layers[l].Size).to_type(ScalarType.Float64); // [n, k]
                    fishers[l].addmm_(columns.t(), columns);
                }

                reporter.Add((int)train.shape[0]);
            },
            reporter.Token
        );
        for (var l = 0; l < layers.Count; l++)
        {
            using var step = NewDisposeScope();
            fishers[l].div_(Kept(Store.Ids.Count));
            var damping = Damping!.For(fishers[l].trace().item<double>() / layers[l].Size);
            if (damping > 0)
            {
                // Where no training example has a gradient there is nothing to divide by, and every product is zero.
                fishers[l].diagonal(0).add_(Kept(damping));
                var columns = rows.narrow(1, layers[l].First, layers[l].Size);
                columns.copy_(linalg.solve(fishers[l], columns.to_type(ScalarType.Float64).t()).t());
            }
        }
    }

    private ScoreMetadata Metadata(InfluenceTask task, ParameterCoverage coverage) =>
        new()
        {
            Estimator = Name,
            Checkpoints = Checkpoints is null ? "the weights that the store was written with, weight 1" : string.Join("; ", Checkpoints),
            Unit =
                Cosine ? "cosine, of the projected product and exact norms"
                : Preconditioned
                    ? "loss; over the number of training examples of the fit: the predicted rise of the measurement when the example is "
                        + "left out"
                : Damping is null ? "fall of the measurement, to first order, by one SGD step on the example alone"
                : "fall of the measurement, to first order, when the example's weight in the sum of losses grows by N",
            Curvature =
                Preconditioned ? Store.DirectionInWords
                : Damping is null ? string.Empty
                : "empirical Fisher matrix of each layer's projected gradients",
            Damping = Damping?.ToString() ?? string.Empty,
            LeaveOneOutFactor =
                Preconditioned && !Cosine ? 1.0 / Store.FitExamples
                : Damping is null ? null
                : 1.0 / Store.Ids.Count,
            Layers = task.Layers.Description,
            Coverage = coverage.Fraction,
            Notes = string.Join(
                " ",
                new[]
                {
                    coverage.Notes,
                    $"Projected: {Store.Described}",
                    _stores.Count > 1 ? $"{_stores.Count} members." : string.Empty,
                }.Where(note => note.Length > 0)
            ),
        };
}
