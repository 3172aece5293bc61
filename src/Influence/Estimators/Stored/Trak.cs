using Influence.Curvature;
using Influence.Gradients;
using Influence.Stores;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// TRAK over gradient stores: the step that leaving an example out of a logistic regression on projected gradients makes, averaged over
/// models. With the probability p of an example's own outcome, f = log(p / (1 - p)) and phi = R' grad f,
/// <code>s(z, q) = [mean over members of (1 - p(z))]  [mean over members of phi(q)' (Phi' Phi)^-1 phi(z)]</code>
/// The store holds gradients of the loss l = -log p, from which phi = -g / (1 - p) follows exactly, with 1 - p = -expm1(-l): one store of
/// the training loss serves this and other estimators.
/// </summary>
/// <remarks>
/// <para>
/// The training loss must be -log p of the whole example (<see cref="Losses.CrossEntropy"/>, which stays exact where p is nearly 1, for
/// one). The query's phi is that of its loss likewise, or, where the task has a measurement, the measurement's gradient itself. An example
/// with p = 1 in the model's precision has no phi: it is named rather than given a zero.
/// </para>
/// <para>
/// One member is noisy; five to ten models, trained apart, are usual: <c>GradientStore.WriteMembers(models, ...)</c>. Dense projections
/// with 1,000 to 20,000 numbers are the published ones; fewer examples than numbers make Phi' Phi singular, which is refused without
/// <see cref="Damping"/>. Cost: N k^2 + k^3 operations a member, then Q N k; memory 3 k^2 numbers in float64. Reference: Park, Georgiev,
/// Ilyas, Leclerc, Madry, "TRAK: Attributing Model Behavior at Scale", ICML 2023, without its soft threshold.
/// </para>
/// </remarks>
/// <example>
/// <code>
/// var projection = new GradientProjection { Form = GradientProjection.Kind.Dense, Dimension = 2048 };
/// var members = GradientStore.WriteMembers(models, train, projection, "runs/trak");
/// using var scores = new Trak(members) { OtherModels = models }.Score(models[0], train, queries);
/// </code>
/// </example>
public sealed record Trak : IPairEstimator
{
    private const double SmallestPivot = 1e-7;
    private readonly IReadOnlyList<GradientStore> _stores;

    /// <summary>Takes one member.</summary>
    /// <param name="store">A complete store of the training loss.</param>
    public Trak(GradientStore store)
        : this([store ?? throw new ArgumentNullException(nameof(store))]) { }

    /// <summary>Takes several members.</summary>
    /// <param name="members">Complete stores of the same examples, in the order of the models.</param>
    /// <exception cref="InfluenceException">None, of other examples or projections, or not of gradients.</exception>
    public Trak(IReadOnlyList<GradientStore> members)
    {
        _stores = StoredMembers.Copy(members);
        if (_stores[0].Direction != GradientProjection.UpdateDirection.Gradient)
        {
            throw new InfluenceException(
                $"TRAK takes gradients; the store in {_stores[0].Folder} holds something else "
                    + $"({_stores[0].DirectionInWords}). Write one with Direction left out."
            );
        }
    }

    /// <summary>The checkpoints of the task's model that the first members were written at. Copied.</summary>
    /// <value>Null: the model's current weights.</value>
    /// <exception cref="InfluenceException">An empty list.</exception>
    public IReadOnlyList<Checkpoint>? Checkpoints
    {
        get;
        init => field = CheckpointList.Copy(value, 1, "to average over");
    }

    /// <summary>The models of the other members; where there are as many as members, the task's own is none of them. Copied.</summary>
    /// <value>None.</value>
    public IReadOnlyList<InfluenceTask> OtherModels
    {
        get;
        init => field = [.. value ?? throw new ArgumentNullException(nameof(value))];
    } = [];

    /// <summary>Added to Phi' Phi; relative to its mean eigenvalue where it is relative.</summary>
    /// <value>Null: none, as published.</value>
    public Damping? Damping { get; init; }

    /// <summary>Bytes that written-out gradients and matrices may take.</summary>
    /// <value>Half of the memory.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.HalfOfMemory;

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
        CheckSizes();
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var members = new StoredMembers(_stores, Checkpoints, OtherModels);
        var wanted = members.Wanted(train.Ids);
        using var reporter = new ProgressReporter(progress, "TRAK", 1, members.First.Ids.Count, cancellationToken);
        reporter.ExpectPasses(members.Count + 1);
        var (scans, missing) = (new List<StoreScan>(), new List<double[]>());
        var coverage = default(ParameterCoverage);
        members.ForEach(
            task,
            (store, model, m) =>
            {
                if (m == 0)
                {
                    store.CheckData(model, train, wanted[0]);
                }

                var (rows, _, losses, own) = store.Project(model, queries, MemoryBudget, cancellationToken);
                coverage ??= own;
                if (model.Measurement is null)
                {
                    rows = rows / tensor(Missing(losses, queries.Ids, "queries", store)).to_type(store.Dtype).unsqueeze(1);
                }

                var (gram, left) = Gram(store, reporter);
                missing.Add(left);
                scans.Add(new StoreScan(store, Solve(gram, rows, store)));
            }
        );
        sink.Begin(queries.Ids, train.Ids, members.First.Dtype);
        members.Blocks(
            sink,
            wanted,
            reporter,
            (maps, first) =>
            {
                Tensor? kernel = null;
                var weights = new double[maps[0].Count];
                for (var m = 0; m < maps.Count; m++)
                {
                    var own = missing[m].AsSpan(first, weights.Length).ToArray();
                    var products = scans[m].Products(maps[m]) / tensor(own).to_type(members.First.Dtype).unsqueeze(0); // [Q, n]
                    using Scalar one = Kept(1);
                    kernel = kernel is null ? products : kernel.add_(products, one);
                    for (var i = 0; i < weights.Length; i++)
                    {
                        weights[i] += own[i] / ((double)maps.Count * maps.Count);
                    }
                }

                return kernel!.mul_(tensor(weights).to_type(members.First.Dtype).unsqueeze(0));
            }
        );
        Log.Scored(task.Logger, "TRAK", queries.Count, train.Count, members.Count, reporter.Elapsed.TotalSeconds);
        return new ScoreMetadata
        {
            Estimator = "TRAK",
            Checkpoints = $"{members.Count} member{(members.Count == 1 ? string.Empty : "s")}, kernels and weights averaged apart",
            Unit = task.Measurement is null
                ? "fall of log((1 - p) / p) of the query, to first order, when the example comes in"
                : "fall of the measurement, to first order, when the example comes in",
            Curvature = "second moments of projected gradients of log(p / (1 - p)), over all layers",
            Damping = Damping?.ToString() ?? string.Empty,
            LeaveOneOutFactor = 1,
            Layers = task.Layers.Description,
            Coverage = coverage!.Fraction,
            Notes = string.Join(" ", new[] { coverage.Notes, members.First.Described }.Where(note => note.Length > 0)),
        };
    }

    private void CheckSizes()
    {
        var (count, width) = (_stores[0].Ids.Count, _stores[0].Width);
        if (count < width && Damping is not { Value: > 0 })
        {
            throw new InfluenceException(
                $"TRAK inverts a matrix of {width:N0} dimensions made of {count:N0} examples, which is singular. Write a store of "
                    + $"at most {count:N0} numbers (GradientProjection {{ Form = GradientProjection.Kind.Dense, Dimension = ... }}), or "
                    + "give Damping."
            );
        }

        if (3.0 * sizeof(double) * width * width > MemoryBudget)
        {
            throw new InfluenceException(
                $"TRAK inverts one matrix over all {width:N0} numbers of an example, which takes "
                    + $"{3 * sizeof(double) * width * width:N0} bytes, more than MemoryBudget. Write a store with "
                    + "GradientProjection.Kind.Dense and a Dimension of a few thousand."
            );
        }
    }

    /// <summary>Phi' Phi in float64, and 1 - p of every training example.</summary>
    private static (Tensor Gram, double[] Missing) Gram(GradientStore store, ProgressReporter reporter)
    {
        using var scope = NewDisposeScope();
        var gram = zeros([store.Width, store.Width], ScalarType.Float64);
        var missing = new double[store.Ids.Count];
        for (var shard = 0; shard < store.Shards; shard++)
        {
            reporter.Token.ThrowIfCancellationRequested();
            using var step = NewDisposeScope();
            using var map = store.Map(shard);
            var (first, count) = store.RowsOf(shard);
            var own = Missing(map.Losses, [.. store.Ids.Skip(first).Take(count)], "training examples", store);
            own.CopyTo(missing, first);
            var rows = empty([count, store.Width], store.Dtype);
            map.Unpack(0, count, rows);
            var phi = rows.to_type(ScalarType.Float64) / tensor(own).unsqueeze(1); // [n, k]
            gram.addmm_(phi.t(), phi);
            reporter.Add(count);
        }

        return (gram.MoveToOuterDisposeScope(), missing);
    }

    /// <summary>1 - p from -log p. A loss of nothing at all leaves no gradient to divide.</summary>
    private static double[] Missing(double[] losses, IReadOnlyList<long> ids, string role, GradientStore store)
    {
        // 1 - e^-l without cancellation.
        var missing = losses.Select(loss => loss > 1 ? 1 - Math.Exp(-loss) : 2 * Math.Sinh(loss / 2) * Math.Exp(-loss / 2)).ToArray();
        long[] bad = [.. ids.Where((_, i) => !(missing[i] > 0) || losses[i] < 0)];
        if (bad.Length == 0)
        {
            return missing;
        }

        var negative = losses.Any(loss => loss < 0);
        throw new InfluenceException(
            $"TRAK needs log(p / (1 - p)), and the losses of the {role} with ids {InfluenceException.List(bad)} (store in {store.Folder}) "
                + $"are {(negative ? "negative, so they are not -log p" : "zero: p is 1 in the model's precision")}. "
                + (
                    negative
                        ? "Use a cross-entropy as TrainingLoss."
                        : "Use Losses.CrossEntropy, which stays exact, or a float64 model, or leave these examples out."
                )
        )
        {
            ExampleIds = bad,
        };
    }

    private Tensor Solve(Tensor gram, Tensor rows, GradientStore store)
    {
        using var scope = NewDisposeScope();
        if (Damping is { } damping)
        {
            gram.diagonal(0).add_(tensor(damping.For(gram.trace().item<double>() / store.Width)));
        }

        var (factor, info) = linalg.cholesky_ex(gram);
        var diagonal = factor.diagonal(0);
        if (info.item<int>() != 0 || diagonal.min().item<double>() < SmallestPivot * diagonal.max().item<double>())
        {
            throw new InfluenceException(
                $"The second moments of the {store.Width:N0} projected numbers in {store.Folder} are singular: in some direction no "
                    + "example has a gradient, as where a model's outputs do not depend on some parameters, "
                    + "or all are kept of a softmax layer. Write a store of a smaller Dimension, or give Damping."
            );
        }

        return cholesky_solve(rows.to_type(ScalarType.Float64).t(), factor).t().to_type(store.Dtype).contiguous().MoveToOuterDisposeScope();
    }
}
