using System.Globalization;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// TracIn over checkpoints (TracInCP): how much steps on a training example lowered the query's measurement along the run.
/// <code>s(z, q) = sum over checkpoints i of rate_i * grad L(w_i, z) . grad f(w_i, q)</code>
/// with the learning rate in force at each checkpoint; where parameter groups have rates of their own, each parameter's part of the
/// product has its own rate. Exact: over every trainable parameter, no projection.
/// </summary>
/// <remarks>
/// <para>Without checkpoints: the gradient dot product (or cosine) at the model's current weights, with weight 1.</para>
/// <para>
/// Unit: the fall of the measurement, to first order, by one SGD step on the example alone at each checkpoint. Multiply by
/// the number of times the example was visited between checkpoints, over the batch size, for the scale of the run.
/// </para>
/// <para>
/// It assumes plain SGD: momentum, Adam, clipping and weight decay are not in the formula, and the scores' notes say so where Adam made
/// the checkpoints. <see cref="Direction"/> takes momentum and Adam in. Examples with large gradients
/// dominate dot products; the cosine does away with that (its norms are over all parameters that take part, without rates).
/// </para>
/// <para>
/// Cost: for each checkpoint one forward and backward pass over training examples and queries without weight gradients, plus
/// the products; see the project's benchmark. Reference: Pruthi, Liu, Sundararajan, Kale, "Estimating Training Data Influence
/// by Tracing Gradient Descent", NeurIPS 2020, equation 3 (TracInCP) and section 4.1 (last layer).
/// </para>
/// </remarks>
public sealed partial record TracIn : IPairEstimator
{
    /// <summary>The checkpoints to sum over, three to ten spread over the phase in which the loss falls; copied.</summary>
    /// <value>Null: the model's current weights with weight 1.</value>
    /// <exception cref="InfluenceException">An empty list, or learning rates that are all zero.</exception>
    public IReadOnlyList<Checkpoint>? Checkpoints
    {
        get;
        init
        {
            if (value is { Count: 0 })
            {
                throw new InfluenceException(
                    "Checkpoints is empty: has the recorder saved none yet (EverySteps above the number of steps)? Write "
                        + "recorder.Save(model, optimizer) after training, or leave Checkpoints out to score the current weights."
                );
            }

            if (value is not null && value.All(c => c.LearningRate == 0))
            {
                throw new InfluenceException(
                    "Every checkpoint has a learning rate of zero, so every score would be zero. Save checkpoints before the schedule "
                        + "ends, or write Checkpoint.FromFile(path, learningRate: ...)."
                );
            }

            field = value is null ? null : [.. value];
        }
    }

    /// <summary>Dot product or cosine.</summary>
    /// <value><see cref="TracIn.GradientSimilarity.Dot"/>.</value>
    public GradientSimilarity Similarity
    {
        get;
        init => field = Check.Defined(value);
    } = GradientSimilarity.Dot;

    /// <summary>
    /// Whether queries are explained one by one or as a set. The cosine is then with the queries' mean gradient at each checkpoint; with
    /// the training examples themselves as queries it is the score of influence-driven curricula (<c>InfluenceCurriculum</c>).
    /// </summary>
    /// <value><see cref="InfluenceFunction.QueryAggregation.None"/>.</value>
    public InfluenceFunction.QueryAggregation Aggregation
    {
        get;
        init => field = Check.Defined(value);
    }

    /// <summary>
    /// Whose step the example is thought to take: plain SGD's, or that of the optimizer that made the checkpoints,
    /// <code>
    /// s(z, q) = sum over checkpoints i of grad f(w_i, q)' diag(rate_i D_i) grad L(w_i, z),
    /// D = 1 / (sqrt(v / (1 - beta2^t)) + eps)
    /// </code>
    /// with Adam's second moment v and its step t as they were saved (its maximum with amsgrad); for SGD with momentum D is
    /// (1 - dampening) / (1 - momentum), what a gradient moves in the long run.
    /// </summary>
    /// <value><see cref="TracIn.UpdateDirection.Sgd"/>.</value>
    /// <remarks>
    /// Only for checkpoints that <c>Checkpoint.Save(path, model, optimizer, step)</c> or <c>CheckpointRecorder</c> wrote after the
    /// optimizer's first step; <see cref="TracIn.UpdateDirection.Optimizer"/> for dot products alone, anything else is refused. D is held
    /// fixed: the example's own part in v, weight decay and clipping stay out, and a weight that never had a gradient has D = 1/eps.
    /// Queries' gradients are written out. It is the first order of AdamW's trajectory with D frozen and no curvature; Pruthi et al. (2020)
    /// name the general optimizer, section 3. <see cref="TracIn.UpdateDirection.Less"/> and its published code's variant ask for the step
    /// that Adam itself would take next on the example alone, its moments included; with <see cref="TracIn.GradientSimilarity.Cosine"/>
    /// they are the scores of LESS (Xia et al., "LESS: Selecting Influential Data for Targeted Instruction Tuning", ICML 2024, section 3).
    /// Gradients of both sides are then written out.
    /// </remarks>
    public UpdateDirection Direction
    {
        get;
        init => field = Check.Defined(value);
    } = UpdateDirection.Sgd;

    /// <summary>
    /// The arithmetic of the products of many queries with many training examples. <see cref="ScalarType.BFloat16"/> rounds their factors
    /// and
    /// sums in float32: on processors with such instructions (AVX512-BF16, AMX) and on GPUs the products take about a quarter of the
    /// time, elsewhere more than before. Of each layer |error| is at most 6 u = 0.024 of the largest that its part of the score could be,
    /// |g_q| |g_z| times the rate, u = 2^-8, where an example has one position; with more, of the sum of that over pairs of positions;
    /// a cosine is off by as much of 1. As a rule it is some hundredths of a percent. Passes, norms,
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
    /// Bytes that kept and written-out gradients may take, beside the model and one batch's activations. Cost only, does not
    /// change results: with less, the training examples are passed several times.
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
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        CheckDirection();
        if (Work is { } work)
        {
            return ScoreInUnits(work, sink, task, train, queries, progress, cancellationToken);
        }

        using var weights = new WeightKeeper(task.Model, Checkpoints ?? []);
        using var reporter = new ProgressReporter(progress, "scoring", Math.Max(1, Count), train.Count, cancellationToken);
        ParameterCoverage? coverage = null;
        var rows = Rows(queries);
        foreach (var (first, block) in TrainingBlocks.Of(train, sink.ExamplesAtOnce(rows.Count, train.Count)))
        {
            using var scope = NewDisposeScope();
            Tensor? totals = null;
            EachCheckpoint(
                task,
                block,
                queries,
                weights,
                reporter,
                (session, products) =>
                {
                    if (coverage is null)
                    {
                        coverage = session.Coverage;
                        sink.Begin(rows, train.Ids, session.Dtype);
                    }

                    totals ??= zeros([rows.Count, block.Count], session.Dtype, CPU); // [Q, b], or [1, b]
                    if (Aggregation == InfluenceFunction.QueryAggregation.None)
                    {
                        products.AddPairs([totals], block, queries, 1, reporter);
                    }
                    else
                    {
                        products.AddSummed([totals], block, queries, SumWeight(queries), reporter);
                    }
                }
            );
            sink.Add(0, first, totals!);
        }

        Log.Scored(task.Logger, Name, queries.Count, train.Count, Math.Max(1, Count), reporter.Elapsed.TotalSeconds);
        return Rounded(Metadata(task, coverage!, self: false));
    }

    /// <summary>
    /// Scores every training example for itself, sum over checkpoints of rate_i * ||grad L(w_i, z)||^2: high for examples
    /// that the model had to learn by heart, mislabelled ones first among them.
    /// </summary>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>One score per example.</returns>
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
        if (Similarity == GradientSimilarity.Cosine)
        {
            throw new InfluenceException("The cosine of a gradient with itself is always 1. For self-influence leave Similarity at Dot.");
        }

        if (Direction is UpdateDirection.Less or UpdateDirection.LessCode)
        {
            throw new InfluenceException(
                $"Direction = UpdateDirection.{Direction} sets an example's step against a query's gradient, and "
                    + "is no product of an example with itself. Write Optimizer or Sgd."
            );
        }

        CheckDirection();
        if (Work is { } work)
        {
            return SelfInUnits(work, task, train, progress, cancellationToken);
        }

        using var scope = NewDisposeScope();
        using var weights = new WeightKeeper(task.Model, Checkpoints ?? []);
        using var reporter = new ProgressReporter(progress, "self-influence", Math.Max(1, Count), train.Count, cancellationToken);
        Tensor? totals = null;
        ParameterCoverage? coverage = null;
        EachCheckpoint(
            task,
            train,
            null,
            weights,
            reporter,
            (session, products) =>
            {
                coverage ??= session.Coverage;
                totals ??= zeros([train.Count], session.Dtype, CPU); // [N]
                products.AddSelf(totals, train, 1, reporter);
            }
        );
        Log.Scored(task.Logger, Name, 1, train.Count, Math.Max(1, Count), reporter.Elapsed.TotalSeconds);
        return new ExampleScores(
            "Self-influence",
            train.Ids,
            totals!.to_type(ScalarType.Float64).data<double>().ToArray(),
            Metadata(task, coverage!, self: true)
        );
    }

    private void EachCheckpoint(
        InfluenceTask task,
        Examples train,
        Examples? queries,
        WeightKeeper weights,
        ProgressReporter reporter,
        Action<GradientSession, GradientProducts> add
    )
    {
        for (var i = 0; i < Math.Max(1, Count); i++)
        {
            reporter.Token.ThrowIfCancellationRequested();
            var rates = weights.Load(i);
            reporter.Checkpoint(i + 1);
            if (Direction is UpdateDirection.Less or UpdateDirection.LessCode)
            {
                using var own = GradientSession.Open(task, train, queries, memory: MemoryBudget);
                using var metric = LessMetric.Of(own, Checkpoints![i], Direction, Similarity, name => Weight(i, name));
                add(own, new GradientProducts(own, MemoryBudget, metric, Normalization.None, arithmetic: Arithmetic(own)));
                continue;
            }

            if (Direction == UpdateDirection.Optimizer)
            {
                using var own = GradientSession.Open(task, train, queries, memory: MemoryBudget);
                using var metric = OptimizerMetric.Of(own, Checkpoints![i]);
                add(own, new GradientProducts(own, MemoryBudget, metric, Normalization.None, arithmetic: Arithmetic(own)));
                continue;
            }

            using var session = GradientSession.Open(task, train, queries, p => rates.Of(p.Name).LearningRate, MemoryBudget);
            double[] factors = [.. session.Parts.Select(parts => rates.Of(parts[0].Parameter.Name).LearningRate)];
            var normalization = Similarity == GradientSimilarity.Cosine ? Normalization.Cosine : Normalization.None;
            add(
                session,
                new GradientProducts(session, MemoryBudget, GradientMetric.Euclidean, normalization, factors, Arithmetic(session))
            );
        }
    }

    private ProductArithmetic Arithmetic(GradientSession session) => ProductArithmetic.Of(ProductType, session.Dtype);

    /// <summary>What is said of scores whose products were rounded.</summary>
    private ScoreMetadata Rounded(ScoreMetadata metadata) =>
        ProductArithmetic.Noted(metadata, Aggregation == InfluenceFunction.QueryAggregation.None ? ProductType : null);

    private IReadOnlyList<long> Rows(Examples queries) => Aggregation == InfluenceFunction.QueryAggregation.None ? queries.Ids : [-1];

    /// <summary>A cosine has the same value with a mean as with a sum.</summary>
    private double SumWeight(Examples queries) =>
        Aggregation == InfluenceFunction.QueryAggregation.Mean && Similarity == GradientSimilarity.Dot ? 1.0 / queries.Count : 1;

    /// <summary>LESS weighs a checkpoint by its rate, each parameter's part by its own where they differ; its code by the rate's share in
    /// the sum of all.</summary>
    private double Weight(int i, string parameter)
    {
        var rate = Checkpoints![i].LearningRateOf(parameter);
        return rate == 0 || Direction != UpdateDirection.LessCode ? rate : rate / Checkpoints.Sum(c => c.LearningRateOf(parameter));
    }

    internal void CheckDirection()
    {
        if (Direction == UpdateDirection.Sgd)
        {
            return;
        }

        if (Aggregation != InfluenceFunction.QueryAggregation.None && Direction != UpdateDirection.Optimizer)
        {
            throw new InfluenceException(
                $"Direction = UpdateDirection.{Direction} compares single examples and queries; found Aggregation = {Aggregation}. Leave "
                    + "Aggregation at None, and take the mean of the scores over their queries."
            );
        }

        if (Similarity == GradientSimilarity.Cosine && Direction == UpdateDirection.Optimizer)
        {
            throw new InfluenceException(
                "Direction = UpdateDirection.Optimizer weighs gradients by the optimizer's step, and a cosine takes their scale away "
                    + "again. Leave Similarity at Dot, or Direction at Sgd."
            );
        }

        var unknown = Checkpoints?.FirstOrDefault(c => !c.Made.IsKnown);
        if (Checkpoints is null || unknown is not null)
        {
            throw new InfluenceException(
                $"Direction = UpdateDirection.{Direction} needs checkpoints that hold their optimizer's state; "
                    + $"{(unknown is null ? "there are none" : $"{unknown.FilePath} holds none")}. "
                    + "Write Checkpoint.Save(path, model, optimizer, step) or use a CheckpointRecorder, or leave Direction at Sgd."
            );
        }
    }

    private string MadeBy => string.Join(" and ", (Checkpoints ?? []).Select(c => c.Optimizer).Where(o => o.Length > 0).Distinct());

    private string PlainSgdNote =>
        Direction == UpdateDirection.Sgd && (Checkpoints ?? []).Any(c => c.Made.IsAdam)
            ? $"made by {MadeBy}, the formula is plain SGD's; write Direction = TracIn.UpdateDirection.Optimizer for the optimizer's own"
            : string.Empty;

    private int Count => Checkpoints?.Count ?? 0;

    internal string Name =>
        Count == 0
            ? Similarity == GradientSimilarity.Dot
                ? "gradient dot product"
                : "gradient cosine"
            : Direction == UpdateDirection.Optimizer
                ? "TracIn (optimizer's direction)"
                : Direction == UpdateDirection.Less
                    ? Similarity == GradientSimilarity.Cosine
                        ? "LESS"
                        : "TracIn (Adam's next step)"
                    : Direction == UpdateDirection.LessCode
                        ? Similarity == GradientSimilarity.Cosine
                            ? "LESS (its code's direction)"
                            : "TracIn (LESS code's direction)"
                        : Similarity == GradientSimilarity.Dot
                            ? "TracIn"
                            : "TracIn (cosine)";

    internal ScoreMetadata Metadata(InfluenceTask task, ParameterCoverage coverage, bool self) =>
        new()
        {
            Estimator = self ? $"{Name}, self-influence" : Name,
            Checkpoints =
                Count == 0
                    ? "current weights, weight 1"
                    : string.Join("; ", Checkpoints!.Select(c => string.Create(CultureInfo.InvariantCulture, $"step {c.Step}: {c.Rates}")))
                        + (MadeBy.Length > 0 ? $"; made by {MadeBy}" : string.Empty),
            Sign = self ? "high = the model had to learn the example by heart" : new ScoreMetadata { Estimator = Name, Unit = Name }.Sign,
            Unit =
                Similarity == GradientSimilarity.Cosine
                    ? Count == 0
                        ? "cosine"
                        : Direction == UpdateDirection.LessCode
                            ? "mean of cosines, weighed by the checkpoints' learning rates"
                            : "sum of cosines, each times its checkpoint's learning rate"
                    : Direction is UpdateDirection.Less or UpdateDirection.LessCode
                        ? "fall of the measurement, to first order, by the step that "
                            + "Adam would take next on the example alone, without its decay"
                        : Direction == UpdateDirection.Optimizer
                            ? "fall of the measurement, to first order, by one step of the optimizer with its "
                                + "state held fixed, on the example alone at each checkpoint"
                            : "fall of the measurement, to first order, by one SGD step on the example alone at each checkpoint",
            Layers = task.Layers.Description,
            Coverage = coverage.Fraction,
            Integrity = Checkpoint.IntegrityOf(Checkpoints ?? []),
            Notes = ScoreMetadata.Joined(coverage.Notes, PlainSgdNote),
        };

    /// <summary>Whose step an example's gradient takes.</summary>
    public enum UpdateDirection
    {
        /// <summary>Plain SGD's: the gradient times the learning rate.</summary>
        Sgd,

        /// <summary>That of the optimizer that made the checkpoints: SGD with momentum, Adam or AdamW.</summary>
        Optimizer,

        /// <summary>
        /// LESS: the step that Adam would take next on the example alone,
        /// <code>
        /// m' / (1 - beta1^n) / (sqrt(v' / (1 - beta2^n)) + eps),
        /// m' = beta1 m + (1 - beta1) g,   v' = beta2 v + (1 - beta2) g^2,   n = t + 1
        /// </code>
        /// from the checkpoint's moments m and v after step t. g is one example's and v a batch's, so that g^2 weighs more in v' than it
        /// would in training.
        /// </summary>
        Less,

        /// <summary>
        /// The same as LESS's published code computes it: m' / sqrt(v' + 1e-8) with betas 0.9 and 0.999 and no correction of the bias, and
        /// checkpoints weighed by their shares in the sum of the rates.
        /// </summary>
        LessCode,
    }

    /// <summary>How two gradients are compared.</summary>
    public enum GradientSimilarity
    {
        /// <summary>The dot product.</summary>
        Dot,

        /// <summary>The cosine, between -1 and 1; zero where a gradient is zero. Does not favour examples with large gradients.</summary>
        Cosine,
    }
}
