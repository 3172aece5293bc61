using System.Globalization;
using Influence.Curvature;
using Influence.Distributed;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Scores in units that a folder keeps.</summary>
public sealed partial record InfluenceFunction
{
    /// <summary>
    /// A folder that keeps scores as they are finished, unit by unit, and that several processes may share: the same call goes on where one
    /// was cut off. For <see cref="PairEstimators.Score"/>, <see cref="PairEstimators.Strongest"/>,
    /// <see cref="PairEstimators.ScoreToFile"/> and <see cref="SelfInfluence"/>.
    /// </summary>
    /// <value>Null: one process, and nothing is kept.</value>
    public Work? Work { get; init; }

    /// <summary>What scoring would take: seconds from a sample of the training examples that is scored for all queries, and the room of the
    /// scores.</summary>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>
    /// The estimate: time for the queries that are kept at once as measured, and for N examples by the rate of some batches; memory
    /// <see cref="MemoryBudget"/> and Q N scores, which <see cref="PairEstimators.Strongest"/> and <see cref="PairEstimators.ScoreToFile"/>
    /// do not keep; with <see cref="Work"/> Q N scores on the disk.
    /// </returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Work.Cost Estimate(InfluenceTask task, Examples train, Examples queries, CancellationToken cancellationToken = default)
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(null, "estimate", 1, train.Count, cancellationToken);
        var (opened, opening) = SessionSample.Open(() => GradientSession.Open(task, train, queries, memory: MemoryBudget));
        using var session = opened;
        Inverse? prepared = null;
        var preparing = Spent.Of(() => prepared = _preconditioner.Prepare(session, Damping, Tolerance, cancellationToken));
        using var inverse = prepared!;
        var summed = Aggregation != QueryAggregation.None;
        var spent = opening + preparing + Products(session, inverse).SampleProducts(train, queries, summed, reporter);
        return UnitScores.CostOf(spent, MemoryBudget, Work, train, QueryIds(queries).Count, session.Dtype);
    }

    /// <summary>What <see cref="SelfInfluence"/> would take, from a sample of the training examples.</summary>
    /// <param name="task">The model at the weights of the fit, and its loss.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The estimate, as of <see cref="Estimate"/> with one row of scores.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Work.Cost EstimateSelfInfluence(InfluenceTask task, Examples train, CancellationToken cancellationToken = default)
    {
        ExampleChecks.Run(task, (train, "training examples"));
        using var scope = NewDisposeScope();
        using var reporter = new ProgressReporter(null, "estimate", 1, train.Count, cancellationToken);
        var (opened, opening) = SessionSample.Open(() => GradientSession.Open(task, train, null, memory: MemoryBudget));
        using var session = opened;
        Inverse? prepared = null;
        var preparing = Spent.Of(() => prepared = _preconditioner.Prepare(session, Damping, 0, cancellationToken));
        using var inverse = prepared!;
        var products = new GradientProducts(session, MemoryBudget, inverse, Gradients.Normalization.None);
        var spent = opening + preparing + products.SampleSelf(train, reporter);
        return UnitScores.CostOf(spent, MemoryBudget, Work, train, 1, session.Dtype);
    }

    private ScoreMetadata ScoreInUnits(
        Work work,
        ScoreSink sink,
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        CheckCheckpoint(task);
        if (Normalization == ScoreNormalization.Leverage)
        {
            throw new InfluenceException(
                "Normalization = Leverage reads all training examples before the first score, and cannot be cut "
                    + "into units. Leave Work out, or Normalization at None."
            );
        }

        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(task, train, queries, memory: MemoryBudget);
        var units = new WorkUnits(train, work);
        var rows = QueryIds(queries);
        using var folder = UnitScores.Open(
            work,
            Manifest("scores", session, train, units, queries),
            units,
            rows.Count,
            train,
            session.Dtype,
            token
        );
        using var reporter = new ProgressReporter(progress, "scoring", 1, train.Count, token);
        var scores = new UnitScores(folder, units, train, reporter);
        if (!scores.AllThere)
        {
            using var inverse = _preconditioner.Prepare(session, Damping, Tolerance, token);
            ByUnit(Products(session, inverse), Units, train, queries, reporter);

            void Units(Action<Examples, Action<long, long, Tensor>> score) =>
                scores.Do(part =>
                {
                    using var all = new DenseSink();
                    all.Begin(rows, part.Ids, session.Dtype);
                    score(part, (query, first, values) => all.Add((int)query, (int)first, values));
                    var metadata = Rounded(Metadata(task, session, inverse));
                    using var own = all.Finish(metadata);
                    return (own.Values.alias(), metadata);
                });
        }

        Log.Scored(task.Logger, Name, rows.Count, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return scores.Merge(sink, rows);
    }

    private void ByUnit(
        GradientProducts products,
        Action<Action<Examples, Action<long, long, Tensor>>> run,
        Examples train,
        Examples queries,
        ProgressReporter reporter
    )
    {
        if (Aggregation == QueryAggregation.None)
        {
            products.PairsByUnit(run, train, queries, reporter);
        }
        else
        {
            products.SummedByUnit(run, train, queries, SumWeight(queries), reporter);
        }
    }

    private ExampleScores SelfInUnits(
        Work work,
        InfluenceTask task,
        Examples train,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        using var scope = NewDisposeScope();
        using var session = GradientSession.Open(task, train, null, memory: MemoryBudget);
        var units = new WorkUnits(train, work);
        using var folder = UnitScores.Open(
            work,
            Manifest("self-influence", session, train, units, null),
            units,
            1,
            train,
            session.Dtype,
            token
        );
        using var reporter = new ProgressReporter(progress, "self-influence", 1, train.Count, token);
        var scores = new UnitScores(folder, units, train, reporter);
        if (!scores.AllThere)
        {
            using var inverse = _preconditioner.Prepare(session, Damping, 0, token);
            var products = new GradientProducts(session, MemoryBudget, inverse, Gradients.Normalization.None);
            scores.Do(part =>
            {
                var totals = zeros([part.Count], session.Dtype, CPU);
                products.AddSelf(totals, part, 1, reporter);
                return (totals.unsqueeze(0), SelfMetadata(task, session, inverse));
            });
        }

        Log.Scored(task.Logger, Name, 1, train.Count, 1, reporter.Elapsed.TotalSeconds);
        return scores.MergeSelf();
    }

    private WorkManifest Manifest(string what, GradientSession session, Examples train, WorkUnits units, Examples? queries) =>
        WorkManifest.Of(
            $"{what} by an influence function",
            session.WeightsFingerprint(),
            train,
            units,
            session.FirstLoss(train),
            ("the queries", queries is null ? "none" : WorkManifest.Describe(queries)),
            (
                "the curvature",
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{_preconditioner.Info.Method}, {_preconditioner.Info.Matrix}, "
                        + $"{_preconditioner.Info.Examples} examples, seed {_preconditioner.Info.Seed}{Spectrum}"
                )
            ),
            ("Damping", (Damping ?? _preconditioner.Info.Damping).ToString()),
            ("Normalization", Normalization.ToString()),
            ("Aggregation", Aggregation.ToString()),
            ("Tolerance", Tolerance.ToString("R", CultureInfo.InvariantCulture)),
            ("MemoryBudget", MemoryBudget.Bytes.ToString(CultureInfo.InvariantCulture)),
            ("the examples' BatchSize", train.BatchSize.ToString(CultureInfo.InvariantCulture)),
            ("the numbers", ProductArithmetic.Describe(session.Dtype, ProductType))
        );

    /// <summary>What tells two fits of the same kind apart.</summary>
    private string Spectrum =>
        _preconditioner is LayerwisePreconditioner fit
            ? string.Create(
                CultureInfo.InvariantCulture,
                $", mean eigenvalues {fit.MeanEigenvalues.Sum(b => b.MeanEigenvalue):G6} in {fit.MeanEigenvalues.Count} blocks"
            )
            : string.Empty;

    private GradientProducts Products(GradientSession session, Inverse inverse) =>
        new(
            session,
            MemoryBudget,
            inverse,
            Normalization switch
            {
                ScoreNormalization.Theta => Gradients.Normalization.ThetaRelative,
                ScoreNormalization.Loss => Gradients.Normalization.LossRelative,
                _ => Gradients.Normalization.None,
            },
            arithmetic: ProductArithmetic.Of(ProductType, session.Dtype)
        );

    private ScoreMetadata SelfMetadata(InfluenceTask task, GradientSession session, Inverse inverse) =>
        Metadata(task, session, inverse) with
        {
            Estimator = $"{Name}, self-influence",
            Sign = "high = the model had to learn the example by heart",
        };
}
