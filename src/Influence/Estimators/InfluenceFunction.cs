using System.Globalization;
using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

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
/// (Bae et al. 2022). Of a model that was trained with weight decay the damping is at least the decay: see <see cref="Curvature.Damping"/>.
/// An example with leverage h changes a linear model by 1/(1-h) times as much.
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
public sealed partial record InfluenceFunction : IPairEstimator
{
    private readonly Preconditioner _preconditioner;

    /// <summary>Takes the curvature.</summary>
    /// <param name="preconditioner">The curvature; it stays the caller's.</param>
    public InfluenceFunction(Preconditioner preconditioner)
    {
        ArgumentNullException.ThrowIfNull(preconditioner);
        _preconditioner = preconditioner;
    }

    /// <summary>The damping of this call.</summary>
    /// <value>Null: the preconditioner's own.</value>
    public Damping? Damping { get; init; }

    /// <summary>
    /// The checkpoint whose weights the model has: its optimizer is then named with the scores, and their notes say what the formula leaves
    /// out of its steps. It changes no score; a model with other weights is refused.
    /// </summary>
    /// <value>Null: that of <see cref="Curvature.Damping.OfOptimizer"/>, if that is the damping.</value>
    public Checkpoint? Checkpoint { get; init; }

    /// <summary>What scores are divided by.</summary>
    /// <value><see cref="InfluenceFunction.ScoreNormalization.None"/>.</value>
    public ScoreNormalization Normalization
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>Whether queries are explained one by one or as a set.</summary>
    /// <value><see cref="InfluenceFunction.QueryAggregation.None"/>.</value>
    public QueryAggregation Aggregation
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>
    /// The relative error that a score may have where that saves work: |error| at most this times sqrt(s(q,q) s(z,z)), the
    /// largest that the score could be. 0 is exact. What <see cref="PairEstimators.Strongest"/> finds is exact on layers with one
    /// position an example whatever this is: there a cheap pass with a bound for each pair says which examples are scored.
    /// </summary>
    /// <value>0.001.</value>
    public double Tolerance
    {
        get;
        init => field = Check.ShareBelowOne(value);
    } = 1e-3;

    /// <summary>
    /// The arithmetic of the products of many queries with many training examples. <see cref="ScalarType.BFloat16"/> rounds their factors
    /// and
    /// sums in float32: on processors with such instructions (AVX512-BF16, AMX) and on GPUs the products take about a quarter of the
    /// time, elsewhere more than before. Of each layer |error| is at most 6 u = 0.024 of the largest that its part of the score could be,
    /// sqrt(s(q,q) s(z,z)), u = 2^-8, where an example has one position; with more, of the sum of that over pairs of positions;
    /// and what <see cref="Tolerance"/> allows comes to it. As a rule it is some hundredths of a percent. Passes, norms,
    /// self-influence, sums of queries and <see cref="PairEstimators.Strongest"/>'s scores are in the model's type whatever this is.
    /// </summary>
    /// <value>Null: the model's own type.</value>
    /// <exception cref="InfluenceException">Another type than bfloat16; a call with a model that is not float32.</exception>
    public ScalarType? ProductType
    {
        get;
        init => field = ProductArithmetic.Checked(value);
    }

    /// <summary>
    /// Bytes that kept and written-out gradients may take, beside the model, the preconditioner and one batch's activations.
    /// Cost only: with less, the training examples are passed several times. Results change by no more than <see cref="Tolerance"/>
    /// allows, since it decides what is approximated; with a tolerance of 0 not at all.
    /// </summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    /// <inheritdoc/>
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
        if (Work is { } work)
        {
            return ScoreInUnits(work, sink, task, train, queries, progress, cancellationToken);
        }

        var factors = Normalization == ScoreNormalization.Leverage ? LeverageFactors(task, train, progress, cancellationToken) : null;
        var search =
            sink is StrongestSink && Aggregation == QueryAggregation.None && Normalization == ScoreNormalization.None
                ? (StrongestSink)sink
                : null;
        var metadata = Run(
            task,
            train,
            queries,
            session => sink.Begin(QueryIds(queries), train.Ids, session.Dtype),
            (products, reporter) =>
            {
                if (search is not null)
                {
                    products.Strongest(search, train, queries, reporter);
                }
                else if (Aggregation == QueryAggregation.None)
                {
                    products.Pairs(Take, train, queries, reporter);
                }
                else
                {
                    products.Summed(Take, train, queries, SumWeight(queries), reporter);
                }

                void Take(long query, long first, Tensor values)
                {
                    if (factors is not null)
                    {
                        values.mul_(tensor(factors.AsSpan((int)first, (int)values.shape[1]).ToArray()).to_type(values.dtype));
                    }

                    sink.Add((int)query, (int)first, values);
                }
            },
            progress,
            cancellationToken
        );
        return search is null ? Rounded(metadata) : metadata;
    }

    /// <summary>Scores apart for each block of parameters (a layer's weight with its bias); they sum to
    /// <see cref="PairEstimators.Score"/>'s.</summary>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One matrix a block; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Bad input, or a normalisation: a share of a normalised score has no meaning of its
    /// own.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public LayerScores ScoreLayers(
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        RefuseNormalization("per layer");
        using var scope = NewDisposeScope();
        var rows = QueryIds(queries).Count;
        (string Name, Tensor Values)[] totals = [];
        var metadata = Run(
            task,
            train,
            queries,
            session =>
                totals = [
                    .. session.BlockNames.Select(name => (name, zeros([rows, train.Count], session.Dtype, CPU).MoveToOuterDisposeScope())),
                ],
            (products, reporter) =>
            {
                Tensor[] values = [.. totals.Select(t => t.Values)];
                if (Aggregation == QueryAggregation.None)
                {
                    products.AddPairs(values, train, queries, 1, reporter);
                }
                else
                {
                    products.AddSummed(values, train, queries, SumWeight(queries), reporter);
                }
            },
            progress,
            cancellationToken
        );
        return new LayerScores([
            .. totals.Select(layer =>
                (
                    layer.Name,
                    new InfluenceScores(layer.Values, QueryIds(queries), train.Ids, Rounded(metadata) with { Layers = layer.Name })
                )
            ),
        ]);
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
        CancellationToken cancellationToken = default
    )
    {
        ExampleChecks.Run(task, (train, "training examples"));
        RefuseNormalization("for self-influence");
        CheckCheckpoint(task);
        if (Work is { } work)
        {
            return SelfInUnits(work, task, train, progress, cancellationToken);
        }

        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, "self-influence", 1, train.Count, cancellationToken);
        using var session = GradientSession.Open(task, train, null, memory: MemoryBudget);
        using var inverse = _preconditioner.Prepare(session, Damping, 0, cancellationToken);
        var totals = zeros([train.Count], session.Dtype, CPU);
        new GradientProducts(session, MemoryBudget, inverse, Gradients.Normalization.None).AddSelf(totals, train, 1, reporter);
        Log.Scored(task.Logger, Name, 1, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return new ExampleScores(
            "Self-influence",
            train.Ids,
            totals.to_type(ScalarType.Float64).data<double>().ToArray(),
            SelfMetadata(task, session, inverse)
        );
    }

    internal Preconditioner Preconditioner => _preconditioner;

    internal string Name => $"influence function ({_preconditioner.Info.Method})";

    internal ScoreMetadata Metadata(InfluenceTask task, GradientSession session, Inverse inverse) =>
        new()
        {
            Estimator = Name,
            Curvature =
                $"{_preconditioner.Info.Matrix}, {_preconditioner.Info.Examples} examples, seed {_preconditioner.Info.Seed}"
                + (inverse.Report is { } report ? $"; {report}" : string.Empty),
            Damping =
                (Damping ?? _preconditioner.Info.Damping).ToString()
                + (
                    inverse.Dampings.Count == 0
                        ? string.Empty
                        : ": "
                            + string.Join(
                                "; ",
                                inverse.Dampings.Select(d => string.Create(CultureInfo.InvariantCulture, $"{d.Block} {d.Damping:G6}"))
                            )
                ),
            Checkpoints = MadeBy is { } made
                ? string.Create(CultureInfo.InvariantCulture, $"step {made.Step}; made by {made.Optimizer}")
                : string.Empty,
            Unit = Normalization switch
            {
                ScoreNormalization.Leverage =>
                    "loss; over the number of training examples of the fit: the predicted rise of the measurement "
                        + "when the example is left out, with its leverage",
                ScoreNormalization.Theta => "loss over the norm of the parameters' change (theta-RelatIF)",
                ScoreNormalization.Loss => "loss over the square root of self-influence (l-RelatIF)",
                _ =>
                    "loss; over the number of training examples of the fit: the predicted rise of the measurement when the example is left "
                        + "out",
            },
            LeaveOneOutFactor = Normalization is ScoreNormalization.None or ScoreNormalization.Leverage
                ? 1.0 / _preconditioner.Info.Examples
                : null,
            Layers = task.Layers.Description,
            Coverage = session.Coverage.Fraction,
            Integrity = _preconditioner.Info.Integrity,
            Notes = ScoreMetadata.Joined(session.Coverage.Notes, OptimizerNote, ScaleNote(inverse)),
        };

    /// <summary>
    /// Says so where scores over N are no rises that a loss can have. The mean of self-influence over the examples of the fit is about the
    /// number of directions that the damped curvature takes as known, sum of eigenvalue / (eigenvalue + damping); N examples can show N at
    /// most, but eigenvalues measured one by one along a basis claim far more where weights are many and examples few.
    /// </summary>
    private string ScaleNote(Inverse inverse)
    {
        const double MostLikelyRise = 10;
        if (Normalization is ScoreNormalization.Theta or ScoreNormalization.Loss)
        {
            return string.Empty;
        }

        var examples = _preconditioner.Info.Examples;
        return
            _preconditioner is LayerwisePreconditioner fit
            && inverse is LayerwiseInverse
            && fit.KnownDirections(inverse.Dampings) / examples is var rise and > MostLikelyRise
            ? string.Create(
                CultureInfo.InvariantCulture,
                $"the order of scores stands, their scale does not: by them one of the {examples} examples left out raises its own loss by "
                    + $"{rise:N0} in the mean"
            )
                + (
                    Damping?.Decay is { Run.Count: > 0 }
                        ? string.Empty
                        : ". Write Damping = Damping.OfRun(recorder.Checkpoints), which is the length of the training"
                )
            : string.Empty;
    }

    /// <summary>What is said of scores whose products were rounded.</summary>
    private ScoreMetadata Rounded(ScoreMetadata metadata) =>
        ProductArithmetic.Noted(metadata, Aggregation == QueryAggregation.None ? ProductType : null);

    /// <summary>Opens a session, prepares the preconditioner and scores.</summary>
    private ScoreMetadata Run(
        InfluenceTask task,
        Examples train,
        Examples queries,
        Action<GradientSession> begin,
        Action<GradientProducts, ProgressReporter> score,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        CheckCheckpoint(task);
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(progress, "scoring", 1, train.Count, token);
        using var session = GradientSession.Open(task, train, queries, memory: MemoryBudget);
        begin(session);
        using var inverse = _preconditioner.Prepare(session, Damping, Tolerance, token);
        score(Products(session, inverse), reporter);
        Log.Scored(task.Logger, Name, QueryIds(queries).Count, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return Metadata(task, session, inverse);
    }

    private double SumWeight(Examples queries) => Aggregation == QueryAggregation.Mean ? 1.0 / queries.Count : 1;

    private IReadOnlyList<long> QueryIds(Examples queries) => Aggregation == QueryAggregation.None ? queries.Ids : [-1];

    private void RefuseNormalization(string what)
    {
        if (Normalization != ScoreNormalization.None)
        {
            throw new InfluenceException(
                $"Scores {what} are not normalised: a share of a normalised score has no meaning of its own. "
                    + "Leave Normalization at None."
            );
        }

        if (Work is not null && what.StartsWith("per ", StringComparison.Ordinal))
        {
            throw new InfluenceException($"Scores {what} are not kept in units. Leave Work out.");
        }
    }

    /// <summary>What scores are divided by, so that examples with large gradients do not dominate (RelatIF).</summary>
    public enum ScoreNormalization
    {
        /// <summary>Nothing: scores are in loss units.</summary>
        None,

        /// <summary>
        /// The norm of the parameters' change, |(H + damping I)^-1 grad L(z)|: theta-RelatIF (Barshan et al. 2020, equation 7).
        /// </summary>
        Theta,

        /// <summary>The square root of the example's self-influence: l-RelatIF (Barshan et al. 2020, equation 10).</summary>
        Loss,

        /// <summary>
        /// 1 less the example's leverage, of which at most 0.99 counts: rescaled influence (RIF). A linear model's answer to leaving the
        /// example out is exact then, where the plain score falls short for examples that pull the model to themselves. See
        /// <see cref="InfluenceFunction.Leverage"/>.
        /// </summary>
        Leverage,
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
}
