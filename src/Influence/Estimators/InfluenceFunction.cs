using System.Globalization;
using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>What scores are divided by, so that examples with large gradients do not dominate (RelatIF).</summary>
public enum InfluenceNormalization
{
    /// <summary>Nothing: scores are in loss units.</summary>
    None,

    /// <summary>
    /// The norm of the parameters' change, |(H + damping I)^-1 grad L(z)|: theta-RelatIF (Barshan et al. 2020, equation 7).
    /// </summary>
    Theta,

    /// <summary>The square root of the example's self-influence: l-RelatIF (Barshan et al. 2020, equation 10).</summary>
    Loss,
}

/// <summary>Whether queries are explained one by one or as a set.</summary>
public enum QueryAggregation
{
    /// <summary>One row of scores for each query.</summary>
    None,

    /// <summary>One row: the influence on the queries' mean measurement, as for a reference set.</summary>
    Mean,

    /// <summary>One row: the influence on the queries' summed measurement.</summary>
    Sum,
}

/// <summary>
/// Influence functions: how the query's measurement would change if a training example counted more or less, by one Newton step.
/// <code>s(z, q) = grad f(q)' (H + damping I)^-1 grad L(z)</code>
/// with H the curvature of the mean training loss, as the preconditioner has it.
/// </summary>
/// <remarks>
/// <para>
/// Unit: the loss. Left out of N training examples, z changes the query's measurement by about + s/N; one more copy of z by - s/N.
/// N is the number of examples of the fit; <see cref="ScoreMetadata.LeaveOneOutFactor"/> carries 1/N. On a model that was
/// not trained to its optimum, and on a non-convex one, it predicts a damped, linearised retraining from the present weights
/// (Bae et al. 2022). Of a model that was trained with weight decay the damping is at least the decay: see <see cref="Curvature.Damping"/>. An example with leverage h changes a linear model by 1/(1-h) times as much.
/// </para>
/// <para>
/// Cost: one pass over queries and training examples without weight gradients, plus the products, whose form is chosen by
/// counted operations. Memory: <see cref="MemoryBudget"/> beside the model, the preconditioner and one batch's activations.
/// </para>
/// <para>
/// References: Koh, Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017, equation 2; Grosse et al.,
/// "Studying Large Language Model Generalization with Influence Functions", 2023.
/// </para>
/// </remarks>
/// <param name="preconditioner">The curvature; it stays the caller's.</param>
public sealed partial class InfluenceFunction(Preconditioner preconditioner)
{
    private readonly Preconditioner _preconditioner = preconditioner ?? throw new ArgumentNullException(nameof(preconditioner));

    /// <summary>The damping of this call.</summary>
    /// <value>Null: the preconditioner's own.</value>
    public Damping? Damping { get; init; }

    /// <summary>What scores are divided by.</summary>
    /// <value><see cref="InfluenceNormalization.None"/>.</value>
    public InfluenceNormalization Normalization
    {
        get;
        init => field = InfluenceException.Defined(value, nameof(Normalization));
    }

    /// <summary>Whether queries are explained one by one or as a set.</summary>
    /// <value><see cref="QueryAggregation.None"/>.</value>
    public QueryAggregation Aggregation
    {
        get;
        init => field = InfluenceException.Defined(value, nameof(Aggregation));
    }

    /// <summary>
    /// The relative error that a score may have where that saves work: |error| at most this times sqrt(s(q,q) s(z,z)), the
    /// largest that the score could be. 0 is exact.
    /// </summary>
    /// <value>0.001.</value>
    public double Tolerance
    {
        get;
        init => field = value is >= 0 and < 1 ? value : throw new InfluenceException($"Tolerance lies between 0 and 1; found {value.ToString(CultureInfo.InvariantCulture)}.");
    } = 1e-3;

    /// <summary>
    /// Bytes that kept and written-out gradients may take, beside the model, the preconditioner and one batch's activations.
    /// Cost only: with less, the training examples are passed several times. Results change by no more than <see cref="Tolerance"/>
    /// allows, since it decides what is approximated; with a tolerance of 0 not at all.
    /// </summary>
    /// <value>1 GiB.</value>
    public long MemoryBudget
    {
        get;
        init => field = value > 0 ? value : throw new InfluenceException($"MemoryBudget is a positive number of bytes, not {value}.");
    } = 1L << 30;

    /// <summary>Scores every training example for every query.</summary>
    /// <param name="task">The model at the weights of the fit, and its loss. The model is left as it was found.</param>
    /// <param name="train">N training examples; they need not be those of the fit.</param>
    /// <param name="queries">Q queries; their measurement is explained.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns><c>[Q, N]</c>, or <c>[1, N]</c> where queries are aggregated (the row's id is then -1), in the model's dtype, on the CPU; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input; told before the first batch where possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public InfluenceScores Score(
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        var (values, _, metadata) = Pairs(task, train, queries, perLayer: false, progress, cancellationToken);
        return new InfluenceScores(values[0], QueryIds(queries), train.Ids, metadata);
    }

    /// <summary>Scores apart for each block of parameters (a layer's weight with its bias); they sum to <see cref="Score"/>'s.</summary>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One matrix a block; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, or a normalisation: a share of a normalised score has no meaning of its own.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public LayerScores ScoreLayers(
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        RefuseNormalization("per layer");
        var (values, names, metadata) = Pairs(task, train, queries, perLayer: true, progress, cancellationToken);
        return new LayerScores([.. names.Zip(values, (name, v) =>
            (name, new InfluenceScores(v, QueryIds(queries), train.Ids, metadata with { Layers = name })))]);
    }

    /// <summary>
    /// Scores every training example for itself, grad L(z)' (H + damping I)^-1 grad L(z): high for examples that the model had
    /// to learn by heart, mislabelled ones first among them.
    /// </summary>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One score per example, exact; never negative where the curvature is not.</returns>
    /// <exception cref="InfluenceException">Bad input; told before the first batch where possible.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public ExampleScores SelfInfluence(
        InfluenceTask task,
        Examples train,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ExampleChecks.Run(task, (train, "training examples"));
        RefuseNormalization("for self-influence");
        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(task, train, null);
        using var inverse = _preconditioner.Prepare(session, Damping, 0, cancellationToken);
        var reporter = new ProgressReporter(progress, "self-influence", 1, train.Count, cancellationToken);
        var totals = zeros([train.Count], session.Dtype, CPU);
        new GradientProducts(session, MemoryBudget, inverse, Gradients.Normalization.None).AddSelf(totals, train, 1, reporter);
        Log.Scored(task.Logger, Name, 1, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return new ExampleScores(
            "Self-influence",
            train.Ids,
            totals.to_type(ScalarType.Float64).data<double>().ToArray(),
            Metadata(task, session, inverse) with { Estimator = $"{Name}, self-influence", Sign = "high = the model had to learn the example by heart" });
    }

    internal Preconditioner Preconditioner => _preconditioner;

    /// <summary>The same with another damping.</summary>
    internal InfluenceFunction With(Damping damping) => new(_preconditioner)
    {
        Damping = damping,
        Normalization = Normalization,
        Aggregation = Aggregation,
        Tolerance = Tolerance,
        MemoryBudget = MemoryBudget,
    };

    internal string Name => $"influence function ({_preconditioner.Info.Method})";

    internal ScoreMetadata Metadata(InfluenceTask task, GradientSession session, Inverse inverse) => new()
    {
        Estimator = Name,
        Curvature = $"{_preconditioner.Info.Matrix}, {_preconditioner.Info.Examples} examples, seed {_preconditioner.Info.Seed}" + (inverse.Report is { } report ? $"; {report}" : string.Empty),
        Damping = (Damping ?? _preconditioner.Info.Damping).ToString() + (inverse.Dampings.Count == 0 ? string.Empty : ": " +
            string.Join("; ", inverse.Dampings.Select(d => string.Create(CultureInfo.InvariantCulture, $"{d.Block} {d.Damping:G6}")))),
        Unit = Normalization switch
        {
            InfluenceNormalization.Theta => "loss over the norm of the parameters' change (theta-RelatIF)",
            InfluenceNormalization.Loss => "loss over the square root of self-influence (l-RelatIF)",
            _ => "loss; over the number of training examples of the fit: the predicted rise of the measurement when the example is left out",
        },
        LeaveOneOutFactor = Normalization == InfluenceNormalization.None ? 1.0 / _preconditioner.Info.Examples : null,
        Layers = task.Layers.Description,
        Coverage = session.Coverage.Fraction,
        Integrity = _preconditioner.Info.Integrity,
        Notes = session.Coverage.Notes,
    };

    private (Tensor[] Values, IReadOnlyList<string> Names, ScoreMetadata Metadata) Pairs(
        InfluenceTask task, Examples train, Examples queries, bool perLayer, IProgress<InfluenceProgress>? progress, CancellationToken token)
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(task, train, queries);
        using var inverse = _preconditioner.Prepare(session, Damping, Tolerance, token);
        var reporter = new ProgressReporter(progress, "scoring", 1, train.Count, token);
        var rows = Aggregation == QueryAggregation.None ? queries.Count : 1;
        var names = perLayer ? session.BlockNames : [string.Empty];
        var totals = names.Select(_ => zeros([rows, train.Count], session.Dtype, CPU)).ToArray();
        var products = new GradientProducts(session, MemoryBudget, inverse, Normalization switch
        {
            InfluenceNormalization.Theta => Gradients.Normalization.ThetaRelative,
            InfluenceNormalization.Loss => Gradients.Normalization.LossRelative,
            _ => Gradients.Normalization.None,
        });
        if (Aggregation == QueryAggregation.None)
        {
            products.AddPairs(totals, train, queries, 1, reporter);
        }
        else
        {
            products.AddSummed(totals, train, queries, Aggregation == QueryAggregation.Mean ? 1.0 / queries.Count : 1, reporter);
        }

        Log.Scored(task.Logger, Name, rows, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return ([.. totals.Select(t => t.MoveToOuterDisposeScope())], names, Metadata(task, session, inverse));
    }

    private IReadOnlyList<long> QueryIds(Examples queries) => Aggregation == QueryAggregation.None ? queries.Ids : [-1];

    private void RefuseNormalization(string what)
    {
        if (Normalization != InfluenceNormalization.None)
        {
            throw new InfluenceException($"Scores {what} are not normalised: a share of a normalised score has no meaning of its own. Leave Normalization at None.");
        }
    }
}
