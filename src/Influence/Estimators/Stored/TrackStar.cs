using System.Globalization;
using Influence.Curvature;
using Influence.Gradients;
using Influence.Stores;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// TrackStar over a gradient store: the cosine of preconditioned projected gradients. With p(z) the projected gradient of a layer and
/// <code>H = c H_query + (1 - c) H_train,   H_train = mean over z of p(z) p(z)',   H_query = mean over q of p(q) p(q)'
/// s(z, q) = u(z) . u(q),   u = v / |v|,   v = ((H + damping I)^-1/2 p, layer by layer, one after the other)</code>
/// Mixing the queries' own second moments in turns down what all of them have in common, such as a template.
/// </summary>
/// <remarks>
/// <para>
/// A store with <see cref="GradientProjection.UpdateDirection.AdamScaled"/> holds what is published, gradients over the roots of Adam's
/// second moments; without moments it is the same of gradients. The norm is that of the projected, preconditioned gradient: the exact norms
/// of a store are without the metric. Signs count as elsewhere, and every score lies between -1 and 1.
/// </para>
/// <para>
/// Cost: an eigendecomposition of k^2 numbers a side a layer, k^6; N k^4 operations a layer; memory 2 k^4 numbers a layer in float64.
/// Reference: Chang, Rajagopal, Bolukbasi, Dixon, Tenney, "Scalable Influence and Fact Tracing for Large Language Model Pretraining", ICLR
/// 2025; the rule for c is that of its appendix A.1.3.
/// </para>
/// </remarks>
public sealed record TrackStar : IPairEstimator
{
    private const double FallbackMixing = 0.99;

    /// <summary>Scores from a store.</summary>
    /// <param name="store">A complete one, projected layer by layer.</param>
    /// <exception cref="InfluenceException">A projection of the whole gradient, or gradients that have a curvature in them.</exception>
    public TrackStar(GradientStore store)
    {
        ArgumentNullException.ThrowIfNull(store);
        Store = store.IsByLayer
            ? store
            : throw new InfluenceException(
                $"TrackStar takes each layer's second moments; the store in {store.Folder} has projected the whole gradient at once. Write "
                    + "one with GradientProjection.Kind.TwoSided or GradientProjection.Kind.Principal."
            );
        if (store.Direction == GradientProjection.UpdateDirection.Preconditioned)
        {
            throw new InfluenceException(
                $"TrackStar makes a curvature of the gradients itself, and the store in {store.Folder} has one in them already "
                    + $"({store.DirectionInWords}). Score it by StoredGradients, or write one with Direction = Gradient or AdamScaled."
            );
        }
    }

    /// <summary>The store.</summary>
    public GradientStore Store { get; }

    /// <summary>c, the queries' share of the second moments.</summary>
    /// <value>Null: such that the <see cref="Components"/>-th largest eigenvalues of both, all layers' taken together, weigh alike; 0.99
    /// where there are not so many.</value>
    /// <exception cref="InfluenceException">Below 0 or above 1.</exception>
    public double? Mixing
    {
        get;
        init =>
            field = value is null or (>= 0 and <= 1)
                ? value
                : throw new InfluenceException($"Mixing is a share between 0 and 1, not {value}.");
    }

    /// <summary>Which eigenvalue the rule for c looks at.</summary>
    /// <value>1,000.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Components
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 1000;

    /// <summary>Added to the eigenvalues of each layer's H.</summary>
    /// <value>A tenth of their mean.</value>
    public Damping Damping
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = Damping.Default;

    /// <summary>Bytes that written-out gradients may take. Cost only.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

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
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var members = new StoredMembers([Store], null, []);
        var wanted = members.Wanted(train.Ids);
        Store.CheckData(task, train, wanted[0]);
        using var reporter = new ProgressReporter(progress, "TrackStar", 1, Store.Ids.Count, cancellationToken);
        reporter.ExpectPasses(2);
        var (rows, _, _, coverage) = Store.Project(task, queries, MemoryBudget, cancellationToken);
        List<(long First, long Size)> layers = [.. Columns()];
        var trainMoments = TrainMoments(layers, reporter);
        List<Tensor> queryMoments = [.. layers.Select(l => Moments(rows.narrow(1, l.First, l.Size)) / Kept(queries.Count))];
        var mixing = Mixing ?? MixingBy(trainMoments, queryMoments);
        List<Tensor> roots =
        [
            .. layers.Select((_, l) => Root((queryMoments[l] * tensor(mixing)) + (trainMoments[l] * tensor(1 - mixing)))),
        ];
        var unit = Unit(rows);
        sink.Begin(queries.Ids, train.Ids, Store.Dtype);
        members.Blocks(
            sink,
            wanted,
            reporter,
            (maps, _) =>
            {
                var own = empty([maps[0].Count, Store.Width], Store.Dtype);
                maps[0].Unpack(0, maps[0].Count, own);
                return unit.mm(Unit(own).t());
            }
        );
        Log.Scored(task.Logger, "TrackStar", queries.Count, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return new ScoreMetadata
        {
            Estimator = "TrackStar",
            Checkpoints = "the weights that the store was written with",
            Unit = "cosine of preconditioned projected gradients",
            Curvature = string.Create(
                CultureInfo.InvariantCulture,
                $"second moments of each layer's projected gradients, {mixing:P0} of them the queries'"
            ),
            Damping = Damping.ToString(),
            Layers = task.Layers.Description,
            Coverage = coverage.Fraction,
            Notes = string.Join(" ", new[] { coverage.Notes, Store.Described }.Where(note => note.Length > 0)),
        };

        // Rows of length 1; a gradient of zero stays one.
        Tensor Unit(Tensor values)
        {
            using var step = NewDisposeScope();
            var mapped = cat([.. layers.Select((layer, l) => values.narrow(1, layer.First, layer.Size).mm(roots[l]))], 1); // [n, K]
            var lengths = mapped.norm(1, keepdim: true, p: 2);
            return (mapped / lengths.where(lengths > zeros_like(lengths), ones_like(lengths))).MoveToOuterDisposeScope();
        }
    }

    private IEnumerable<(long First, long Size)> Columns()
    {
        long first = 0;
        foreach (var size in Store.Layers.Select(layer => layer.Size()))
        {
            yield return (first, size);
            first += size;
        }
    }

    private List<Tensor> TrainMoments(List<(long First, long Size)> layers, ProgressReporter reporter)
    {
        List<Tensor> moments = [.. layers.Select(l => zeros([l.Size, l.Size], ScalarType.Float64))];
        Store.Read(
            (_, rows, _) =>
            {
                for (var l = 0; l < layers.Count; l++)
                {
                    using Scalar one = Kept(1);
                    moments[l].add_(Moments(rows.narrow(1, layers[l].First, layers[l].Size)), one);
                }

                reporter.Add((int)rows.shape[0]);
            },
            reporter.Token
        );
        moments.ForEach(one => one.div_(tensor((double)Store.Ids.Count)));
        return moments;
    }

    private static Tensor Moments(Tensor rows)
    {
        using var scope = NewDisposeScope();
        var wide = rows.to_type(ScalarType.Float64);
        return wide.t().mm(wide).MoveToOuterDisposeScope();
    }

    /// <summary>sigma_train / (sigma_query + sigma_train), each the k-th largest eigenvalue.</summary>
    private double MixingBy(List<Tensor> train, List<Tensor> queries)
    {
        var (own, theirs) = (Eigenvalues(train), Eigenvalues(queries));
        return Components <= own.Length && theirs[Components - 1] + own[Components - 1] is > 0 and var sum
            ? own[Components - 1] / sum
            : FallbackMixing;

        static double[] Eigenvalues(List<Tensor> moments)
        {
            using var scope = NewDisposeScope();
            return
            [
                .. moments
                    .SelectMany(m => linalg.eigvalsh(m).data<double>().ToArray())
                    .Select(value => Math.Max(0, value))
                    .OrderDescending(),
            ];
        }
    }

    /// <summary>(H + damping I)^-1/2, in the store's dtype.</summary>
    private Tensor Root(Tensor moments)
    {
        using var scope = NewDisposeScope();
        var (values, vectors) = linalg.eigh(moments);
        var own = values.data<double>().ToArray();
        var damping = Damping.For(own.Sum() / own.Length);

        // Where no example has a gradient, nothing is divided by.
        var scales = own.Select(value => Math.Max(0, value) + damping).Select(value => value > 0 ? 1 / Math.Sqrt(value) : 0).ToArray();
        return (vectors * tensor(scales).unsqueeze(0)).mm(vectors.t()).to_type(Store.Dtype).MoveToOuterDisposeScope();
    }
}
