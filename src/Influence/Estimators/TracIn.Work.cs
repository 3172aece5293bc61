using System.Globalization;
using Influence.Distributed;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Scores in units that a folder keeps.</summary>
public sealed partial record TracIn
{
    /// <summary>
    /// A folder that keeps scores as they are finished, unit by unit, and that several processes may share: the same call goes on where one
    /// was cut off. For <see cref="PairEstimators.Score"/>, <see cref="PairEstimators.Strongest"/>,
    /// <see cref="PairEstimators.ScoreToFile"/> and <see cref="SelfInfluence"/>. Every unit loads all checkpoints and reads the queries
    /// anew.
    /// </summary>
    /// <value>Null: one process, and nothing is kept.</value>
    public Work? Work { get; init; }

    /// <summary>What scoring would take: at one checkpoint seconds from a sample of the training examples that is scored for the queries, as
    /// often as there are checkpoints, and the room of the scores.</summary>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>
    /// The estimate; memory <see cref="MemoryBudget"/> and Q N scores, which <see cref="PairEstimators.Strongest"/> and
    /// <see cref="PairEstimators.ScoreToFile"/> do not keep; with <see cref="Work"/> Q N scores on the disk.
    /// </returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Work.Cost Estimate(InfluenceTask task, Examples train, Examples queries, CancellationToken cancellationToken = default)
    {
        ExampleChecks.Run(task, (train, "training examples"), (queries, "queries"));
        var summed = Aggregation != InfluenceFunction.QueryAggregation.None;
        return Sample(
            task,
            train,
            queries,
            (products, reporter) => products.SampleProducts(train, queries, summed, reporter),
            cancellationToken
        );
    }

    /// <summary>What <see cref="SelfInfluence"/> would take, from a sample of the training examples at one checkpoint.</summary>
    /// <param name="task">The model and its loss. The model is left as it was found, its weights too.</param>
    /// <param name="train">N training examples.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The estimate, as of <see cref="Estimate"/> with one row of scores.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Work.Cost EstimateSelfInfluence(InfluenceTask task, Examples train, CancellationToken cancellationToken = default)
    {
        ExampleChecks.Run(task, (train, "training examples"));
        return Sample(task, train, null, (products, reporter) => products.SampleSelf(train, reporter), cancellationToken);
    }

    private Work.Cost Sample(
        InfluenceTask task,
        Examples train,
        Examples? queries,
        Func<GradientProducts, ProgressReporter, Spent> sample,
        CancellationToken token
    )
    {
        CheckDirection();
        using var scope = NewDisposeScope();
        var (rows, dtype, spent) = (queries is null ? 1 : Rows(queries).Count, ScalarType.Float32, Spent.Zero);
        var one = Checkpoints?.First(checkpoint => checkpoint.LearningRate != 0);
        var single = this with { Checkpoints = one is null ? null : [one] };
        using var weights = new WeightKeeper(task.Model, single.Checkpoints ?? []);
        using var reporter = new ProgressReporter(null, "estimate", 1, train.Count, token);

        // A first time, after which what the audit found is known.
        single.EachCheckpoint(task, train, queries, weights, reporter, (_, _) => { });
        var all = Spent.Of(() =>
            single.EachCheckpoint(
                task,
                train,
                queries,
                weights,
                reporter,
                (session, products) =>
                {
                    dtype = session.Dtype;
                    var taken = Spent.Of(() => spent += sample(products, reporter));
                    spent += taken * -1;
                }
            )
        );
        spent = (spent + all) * Math.Max(1, Count);
        return UnitScores.CostOf(spent, MemoryBudget, Work, train, rows, dtype);
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
        var units = new WorkUnits(train, work);
        var (manifest, dtype) = Manifest("scores", task, train, units, queries);
        using var folder = UnitScores.Open(work, manifest, units, Rows(queries).Count, train, dtype, token);
        using var reporter = new ProgressReporter(progress, "scoring", 1, train.Count, token);
        var scores = new UnitScores(folder, units, train, reporter);
        scores.Do(part =>
        {
            using var all = new DenseSink();
            using var own = all.Finish((this with { Work = null }).ScoreInto(all, task, part, queries, null, token));
            reporter.Add(part.Count);
            return (own.Values.alias(), own.Metadata);
        });
        return scores.Merge(sink, Rows(queries));
    }

    private ExampleScores SelfInUnits(
        Work work,
        InfluenceTask task,
        Examples train,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        var units = new WorkUnits(train, work);
        var (manifest, _) = Manifest("self-influence", task, train, units, null);
        using var folder = UnitScores.Open(work, manifest, units, 1, train, ScalarType.Float64, token);
        using var reporter = new ProgressReporter(progress, "self-influence", 1, train.Count, token);
        var scores = new UnitScores(folder, units, train, reporter);
        scores.Do(part =>
        {
            var own = (this with { Work = null }).SelfInfluence(task, part, null, token);
            reporter.Add(part.Count);
            return (tensor(own.Values.ToArray()).unsqueeze(0), own.Metadata);
        });
        return scores.MergeSelf();
    }

    /// <summary>The weights of every checkpoint are part of what the folder is of.</summary>
    private (WorkManifest Manifest, ScalarType Dtype) Manifest(
        string what,
        InfluenceTask task,
        Examples train,
        WorkUnits units,
        Examples? queries
    )
    {
        using var weights = new WeightKeeper(task.Model, Checkpoints ?? []);
        var hashes = new List<string>();
        for (var i = Math.Max(1, Count) - 1; i >= 0; i--)
        {
            weights.Load(i);
            hashes.Add(WeightsHash.OfAll(task.Model));
        }

        using var session = GradientSession.Open(task, train, queries, memory: MemoryBudget);
        return (
            WorkManifest.Of(
                $"{what} by {Name}",
                session.WeightsFingerprint(),
                train,
                units,
                session.FirstLoss(train),
                ("the queries", queries is null ? "none" : WorkManifest.Describe(queries)),
                (
                    "the checkpoints, from the last on",
                    string.Join("; ", hashes.Select((hash, i) => Checkpoints is { } own ? $"{hash} {own[^(i + 1)].Rates}" : hash))
                ),
                ("Similarity", Similarity.ToString()),
                ("Direction", Direction.ToString()),
                ("Aggregation", Aggregation.ToString()),
                ("MemoryBudget", MemoryBudget.Bytes.ToString(CultureInfo.InvariantCulture)),
                ("the examples' BatchSize", train.BatchSize.ToString(CultureInfo.InvariantCulture)),
                ("the numbers", ProductArithmetic.Describe(session.Dtype, ProductType))
            ),
            session.Dtype
        );
    }
}
