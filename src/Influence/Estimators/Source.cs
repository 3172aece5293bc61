using System.Globalization;
using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// SOURCE: influence through the whole of training, unrolled approximately. Training is cut into segments; over each, curvature
/// and gradients are taken as constant, so that its many steps have a closed form.
/// <code>
/// s(z, q) = grad f(final)' sum over l of S_L ... S_(l+1) F_l g_l(z)
/// F_l = (I - exp(-eta_l K_l H_l)) H_l^-1,   S_l = exp(-eta_l K_l H_l)
/// </code>
/// with g_l(z) the mean gradient of the example and H_l the EK-FAC curvature over the segment's checkpoints.
/// </summary>
/// <remarks>
/// <para>
/// No minimum is assumed and no damping chosen: a segment of K steps at rate eta acts like a damping of 1/(eta K). For many
/// steps one segment is the undamped influence function, for few or without curvature it is TracIn times the steps.
/// </para>
/// <para>
/// Learning rates, momentum and weight decay are those that the checkpoints recorded for each parameter; parameters of a layer that differ
/// in them (a bias without weight decay) get curvature of their own.
/// </para>
/// <para>
/// Unit: the loss; over N the predicted rise when the example is left out. The formula is that of SGD; momentum scales the rate, and
/// <see cref="Direction"/> takes Adam and AdamW in. The scores' notes say so where Adam made the checkpoints and the formula is SGD's.
/// Cost: for each checkpoint an EK-FAC fit and a pass over the training examples. Memory: the queries' gradients are written
/// out, Q P numbers for each segment and once more, beside the curvature of one segment.
/// </para>
/// <para>
/// Reference: Bae, Lin, Lorraine, Grosse, "Training Data Attribution via Approximate Unrolled Differentiation", NeurIPS 2024,
/// equations 12 to 14.
/// </para>
/// </remarks>
/// <example>
/// <code>
/// using var scores = new Source(Source.Segment.Split(recorder.Checkpoints)).Score(task, train, queries);
/// </code>
/// </example>
public sealed partial record Source : IPairEstimator
{
    private readonly IReadOnlyList<Segment> _segments;

    /// <summary>Takes the segments of a run.</summary>
    /// <param name="segments">In order; the last checkpoint of the last is the end of training, where queries are measured.</param>
    /// <exception cref="InfluenceException">No segment, a segment without checkpoints, or steps or rates that are not positive.</exception>
    public Source(IReadOnlyList<Segment> segments)
    {
        ArgumentNullException.ThrowIfNull(segments);
        if (
            segments.Count == 0
            || segments.Any(s => s.Checkpoints.Count == 0 || s.Steps <= 0 || !(s.LearningRate > 0 && double.IsFinite(s.LearningRate)))
        )
        {
            throw new InfluenceException(
                "Segments with at least one checkpoint, steps and a learning rate above 0 are expected; found "
                    + (
                        segments.Count == 0
                            ? "none"
                            : string.Join(
                                "; ",
                                segments.Select(s =>
                                    $"{s.Checkpoints.Count} checkpoints, {s.Steps} "
                                    + $"steps, rate {s.LearningRate.ToString(CultureInfo.InvariantCulture)}"
                                )
                            )
                    )
                    + ". Write Source.Segment.Split(recorder.Checkpoints)."
            );
        }

        if (segments.FirstOrDefault(s => !s.RatesAreRecorded && s.Checkpoints.Any(c => c is { Rates.AreSame: false })) is { } mixed)
        {
            throw new InfluenceException(
                $"The checkpoints of a segment have learning rates that differ by parameter ({mixed.Checkpoints[0].Rates}), but "
                    + $"{mixed.LearningRate.ToString(CultureInfo.InvariantCulture)} is given for all. "
                    + "Write new Source.Segment(checkpoints, steps), or Source.Segment.Split(recorder.Checkpoints)."
            );
        }

        _segments = [.. segments];
    }

    /// <summary>
    /// Whose steps a segment is made of: SGD's, or those of the optimizer that made its checkpoints. Adam's are the gradient times
    /// P = 1 / (sqrt(v) + eps), with v the mean over the segment's checkpoints of the second moment without its bias, so that
    /// <code>F_l = (I - exp(-eta_l K_l P C)) (P C)^-1 P,   S_l = exp(-eta_l K_l P C),   C = H_l + decay I</code>
    /// for Adam; AdamW's decay stands beside P, P H_l + decay I in the place of P C. P is in the propagator and not in the inverse alone.
    /// </summary>
    /// <value><see cref="TracIn.UpdateDirection.Sgd"/>; <see cref="TracIn.UpdateDirection.Optimizer"/> is the other that SOURCE
    /// knows.</value>
    /// <remarks>
    /// Only for checkpoints that <c>Checkpoint.Save(path, model, optimizer, step)</c> or <c>CheckpointRecorder</c> wrote after the
    /// optimizer's first step. v is held fixed over a segment, momentum counts in the long run, clipping stays out. Bae et al. 2024,
    /// appendix C.
    /// </remarks>
    public TracIn.UpdateDirection Direction
    {
        get;
        init => field = Check.Defined(value);
    } = TracIn.UpdateDirection.Sgd;

    /// <summary>How the functions of P H of <see cref="Direction"/> are formed. It does not count for SGD, where they are exact in EK-FAC's
    /// eigenbasis.</summary>
    /// <value><see cref="Source.Approximation.Exact"/>.</value>
    public Approximation Propagate
    {
        get;
        init => field = Check.Defined(value);
    } = Approximation.Exact;

    /// <summary>SGD's momentum, for every parameter: the rate counts 1/(1 - momentum) times.</summary>
    /// <value>Null: as the checkpoints recorded it, for SGD; 0 where they did not.</value>
    public double? Momentum
    {
        get;
        init => field = Check.ShareBelowOne(value);
    }

    /// <summary>The optimizer's weight decay (L2), for every parameter, which is curvature too: it is added to every eigenvalue.</summary>
    /// <value>Null: as the checkpoints recorded it; 0 where they did not.</value>
    public double? WeightDecay
    {
        get;
        init => field = Check.NotNegative(value);
    }

    /// <summary>How the curvature is fitted; its damping counts for <see cref="Approximation.Diagonal"/> only.</summary>
    /// <value>The defaults.</value>
    public LayerwisePreconditioner.Options Curvature
    {
        get;
        init =>
            field = value is { Work: not null }
                ? throw new InfluenceException(
                    "Source fits several segments in one call, which units of one folder are not for: leave Curvature.Work out."
                )
                : value ?? throw new ArgumentNullException(nameof(value));
    } = new();

    /// <summary>Bytes that the queries' written-out gradients may take. Cost only; more queries than fit are refused.</summary>
    /// <value>Half of the memory that this process may use.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.HalfOfMemory;

    /// <inheritdoc/>
    /// <exception cref="InfluenceException">Bad input, or queries whose gradients do not fit <see cref="MemoryBudget"/>.</exception>
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
        InfluenceException.ThrowIfAny([.. Curvature.Problems(CurvatureKind.Ekfac), .. DirectionProblems()]);
        cancellationToken.ThrowIfCancellationRequested();
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        Checkpoint[] checkpoints = [.. _segments.SelectMany(s => s.Checkpoints)];
        using var weights = new WeightKeeper(task.Model, checkpoints);
        using var reporter = new ProgressReporter(progress, "SOURCE", checkpoints.Length, train.Count, cancellationToken);
        reporter.ExpectPasses(1 + (2L * Curvature.LabelDraws));
        weights.Load(checkpoints.Length - 1);
        var (end, coverage) = AtTheEnd(task, train, queries, reporter);
        var responses = new List<Pushed>();
        var reached = string.Empty;
        try
        {
            sink.Begin(queries.Ids, train.Ids, end.Dtype);
            reached = Push(task, train, end, responses, weights, reporter);
            foreach (var (first, block) in TrainingBlocks.Of(train, sink.ExamplesAtOnce(queries.Count, train.Count)))
            {
                using var one = NewDisposeScope();
                var totals = zeros([queries.Count, block.Count], end.Dtype, CPU); // [Q, b]
                foreach (var segment in responses)
                {
                    AddSegment(task, block, queries, totals, segment, weights, reporter);
                }

                sink.Add(0, first, totals);
            }
        }
        finally
        {
            end.Dispose();
            responses.ForEach(segment => segment.Queries.Dispose());
        }

        Log.Scored(task.Logger, "SOURCE", queries.Count, train.Count, checkpoints.Length, reporter.Elapsed.TotalSeconds);
        return Metadata(task, train, coverage, reached);
    }

    /// <summary>(1 - exp(-x)) / (sigma + decay) with x = eta K (sigma + decay): eta K where there is no curvature.</summary>
    /// <param name="length">eta K.</param>
    /// <param name="weightDecay">The parameters' weight decay.</param>
    internal static Func<Tensor, Tensor> Response(double length, double weightDecay) =>
        eigenvalues =>
        {
            using var scope = NewDisposeScope();
            var x = Exponent(eigenvalues, length, weightDecay);
            var series = Kept(1) - (x / Kept(2)) + (x.Squared() / Kept(6));
            var ratio = ((Kept(1) - x.neg().exp()) / x.clamp_min(Kept(1e-4))).where(x.ge(Kept(1e-4)), series);
            return (ratio * Kept(length)).to_type(eigenvalues.dtype).MoveToOuterDisposeScope();
        };

    /// <summary>exp(-eta K (sigma + decay)).</summary>
    internal static Func<Tensor, Tensor> Decay(double length, double weightDecay) =>
        eigenvalues =>
        {
            using var scope = NewDisposeScope();
            return Exponent(eigenvalues, length, weightDecay).neg().exp().to_type(eigenvalues.dtype).MoveToOuterDisposeScope();
        };

    private static Tensor Exponent(Tensor eigenvalues, double length, double weightDecay) =>
        (eigenvalues.to_type(ScalarType.Float64).clamp_min(Kept(0)) + Kept(weightDecay)) * Kept(length);

    /// <summary>eta K of a parameter in a segment, and its weight decay there.</summary>
    private (double Length, double WeightDecay) Of(Segment segment, string parameter) =>
        (segment.RateOf(parameter, Momentum) * segment.Steps, WeightDecay ?? segment.WeightDecayOf(parameter));

    /// <summary>Opens a session whose blocks have one rate and one weight decay each in every segment.</summary>
    private GradientSession Open(InfluenceTask task, Examples train, Examples? queries) =>
        GradientSession.Open(
            task,
            train,
            queries,
            p => string.Join(';', _segments.Select(s => (Of(s, p.Name), DecouplesIn(s, p.Name)))),
            MemoryBudget
        );

    /// <summary>Pushes the queries back through every segment, the last first: what the training gradients of each meet. Returns how far an
    /// iteration came.</summary>
    private string Push(
        InfluenceTask task,
        Examples train,
        PushedQueries end,
        List<Pushed> responses,
        WeightKeeper weights,
        ProgressReporter reporter
    )
    {
        var first = _segments.Sum(s => s.Checkpoints.Count);
        var (steps, change) = (0, 0.0);
        var pushed = end;
        try
        {
            for (var l = _segments.Count - 1; l >= 0; l--)
            {
                var segment = _segments[l];
                var start = first -= segment.Checkpoints.Count;
                weights.Load(start);
                var (blocks, names, flow) = Fit(task, train, segment, c => weights.Load(start + c), reporter);
                try
                {
                    PushedQueries? earlier;
                    if (flow is null)
                    {
                        var own = names.Select(name => Of(segment, name)).ToArray();
                        responses.Add(
                            new Pushed(
                                pushed.Mapped(blocks, k => Response(own[k].Length, own[k].WeightDecay)),
                                start,
                                segment.Checkpoints.Count
                            )
                        );
                        earlier = l == 0 ? null : pushed.Mapped(blocks, k => Decay(own[k].Length, own[k].WeightDecay));
                    }
                    else
                    {
                        (var response, earlier) = pushed.Through(
                            (k, parts) =>
                                Propagate == Approximation.Exact
                                    ? flow.Exact(k, blocks[k], parts)
                                    : flow.Diagonal(k, blocks[k], parts, Curvature.Damping),
                            both: l > 0
                        );
                        responses.Add(new Pushed(response, start, segment.Checkpoints.Count));
                        (steps, change) = (Math.Max(steps, flow.Steps), Math.Max(change, flow.Change));
                    }

                    Forget();
                    pushed = earlier ?? end;
                }
                finally
                {
                    flow?.Dispose();
                    foreach (var block in blocks)
                    {
                        block?.Dispose();
                    }
                }
            }
        }
        finally
        {
            Forget();
        }

        return steps == 0
            ? string.Empty
            : string.Create(
                CultureInfo.InvariantCulture,
                $"; functions of P H by {steps} steps of Lanczos at most, the last ones changed {change:G2}"
            );

        void Forget()
        {
            if (!ReferenceEquals(pushed, end))
            {
                pushed.Dispose();
            }
        }
    }

    private void AddSegment(
        InfluenceTask task,
        Examples train,
        Examples queries,
        Tensor totals,
        Pushed segment,
        WeightKeeper weights,
        ProgressReporter reporter
    )
    {
        for (var c = 0; c < segment.Checkpoints; c++)
        {
            weights.Load(segment.First + c);
            using var session = Open(task, train, queries);
            var products = new GradientProducts(session, MemoryBudget, segment.Queries, Gradients.Normalization.None);
            products.AddPairs([totals], train, queries, 1.0 / segment.Checkpoints, reporter);
        }
    }

    /// <summary>The curvature, of each block the name of a parameter in it, and the optimizer's scales where they count.</summary>
    private (BlockCurvature?[] Blocks, IReadOnlyList<string> Names, OptimizerFlow? Flow) Fit(
        InfluenceTask task,
        Examples train,
        Segment segment,
        Action<int> load,
        ProgressReporter reporter
    )
    {
        using var scope = NewDisposeScope();
        using var session = Open(task, train, queries: null);
        CostModel.Of(session, train, Curvature, CurvatureKind.Ekfac).RefuseAbove(Curvature.MemoryBudget);
        var flow =
            Direction == TracIn.UpdateDirection.Sgd
                ? null
                : OptimizerFlow.Of(session, segment.Checkpoints, name => Setting(segment, name), MemoryBudget / 2);
        try
        {
            var blocks = LayerwiseFit.Run(session, train, Curvature, CurvatureKind.Ekfac, reporter, segment.Checkpoints.Count, load);
            return (blocks, [.. session.Parts.Select(parts => parts[0].Parameter.Name)], flow);
        }
        catch
        {
            flow?.Dispose();
            throw;
        }
    }

    private (PushedQueries Queries, ParameterCoverage Coverage) AtTheEnd(
        InfluenceTask task,
        Examples train,
        Examples queries,
        ProgressReporter reporter
    )
    {
        using var session = Open(task, train, queries);
        var each = session.Parts.Sum(parts => parts.Sum(p => p.Count)) * session.Dtype.ElementSize();
        var copies = _segments.Count + 1;
        return copies * each * queries.Count <= MemoryBudget
            ? (PushedQueries.Capture(session, queries, reporter.Token), session.Coverage)
            : throw new InfluenceException(
                $"The gradients of {queries.Count:N0} queries, written out for each segment and once more, take "
                    + $"{copies * each * queries.Count / 1e9:0.##} GB; MemoryBudget is {MemoryBudget / 1e9:0.##} GB. Score "
                    + $"{Math.Max(1, MemoryBudget / (copies * each)):N0} queries at a time by queries.Only(ids), fewer Layers, or with "
                    + "more memory."
            );
    }

    private ScoreMetadata Metadata(InfluenceTask task, Examples train, ParameterCoverage coverage, string reached) =>
        new()
        {
            Estimator =
                $"SOURCE ({_segments.Count} segments"
                + (
                    Direction == TracIn.UpdateDirection.Sgd ? string.Empty
                    : Propagate == Approximation.Exact ? ", optimizer's direction"
                    : ", optimizer's direction on the diagonal"
                )
                + ")",
            Checkpoints =
                string.Join(
                    "; ",
                    _segments.Select(s =>
                        string.Create(
                            CultureInfo.InvariantCulture,
                            $"steps {string.Join(", ", s.Checkpoints.Select(c => c.Step))}: {s.Steps} steps at " + $"{RatesOf(s)}"
                        )
                    )
                ) + (MadeBy.Length > 0 ? $"; made by {MadeBy}" : string.Empty),
            Curvature =
                $"{FactorSums.NameOf(Ekfac.Method, Curvature.Factors)}, {Curvature.Matrix}, {train.Count} examples, seed "
                + $"{Curvature.Seed}{reached}",
            Damping = string.Create(
                CultureInfo.InvariantCulture,
                $"{(Direction != TracIn.UpdateDirection.Sgd && Propagate == Approximation.Diagonal ? Curvature.Damping : "none")}; "
                    + $"momentum {Momentum?.ToString("R", CultureInfo.InvariantCulture) ?? "as recorded"}, weight decay "
                    + $"{WeightDecay?.ToString("R", CultureInfo.InvariantCulture) ?? "as recorded"}"
            ),
            Unit = "loss; over the number of training examples: the predicted rise of the measurement when the example is left out",
            LeaveOneOutFactor = 1.0 / train.Count,
            Layers = task.Layers.Description,
            Coverage = coverage.Fraction,
            Integrity = Checkpoint.IntegrityOf(_segments.SelectMany(s => s.Checkpoints)),
            Notes = ScoreMetadata.Joined(coverage.Notes, PlainSgdNote),
        };

    /// <summary>The queries as the training gradients of one segment meet them.</summary>
    /// <param name="Queries">F S ... S grad f, written out; owned.</param>
    /// <param name="First">The segment's first checkpoint.</param>
    /// <param name="Checkpoints">How many it has.</param>
    private sealed record Pushed(PushedQueries Queries, int First, int Checkpoints);

    private static string RatesOf(Segment segment) =>
        segment.RatesAreRecorded
            ? string.Join(", ", segment.Checkpoints.Select(c => c.Rates.ToString()).Distinct())
            : segment.LearningRate.ToString("R", CultureInfo.InvariantCulture);
}
