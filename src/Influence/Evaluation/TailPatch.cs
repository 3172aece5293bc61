using System.Diagnostics;
using Influence.Display;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Evaluation;

/// <summary>
/// Whether proponents help when they are trained on once more: from the present weights, one optimizer step on a proponent
/// alone, and the fall of the query's measurement; beside random examples. No retraining.
/// </summary>
/// <remarks>
/// Chang et al., 2024, section 4. Each step starts from the same weights, which are put back in the end, as gradients are. For
/// a language model the measurement is minus log p(target), so the fall is the rise of the log probability. It measures what an
/// example adds, not what its absence takes away.
/// </remarks>
public sealed record TailPatch
{
    /// <summary>How many of each query's strongest proponents are tried, one after another.</summary>
    /// <value>10.</value>
    public int Proponents
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 10;

    /// <summary>How many random training examples are tried on every query beside them.</summary>
    /// <value>10.</value>
    public int RandomExamples
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 10;

    /// <summary>Of the random examples.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>How intervals are made: over queries.</summary>
    /// <value>1,000 resamples, 95 percent.</value>
    public Bootstrap Bootstrap { get; init; } = new();

    /// <summary>Tries the scores' proponents.</summary>
    /// <param name="task">The model with the weights at the end of training, its loss and measurement.</param>
    /// <param name="train">Has the scores' training examples.</param>
    /// <param name="queries">Has the scores' queries.</param>
    /// <param name="scores">What is judged.</param>
    /// <param name="optimizer">
    /// Makes the optimizer for one step, as it was at the end of training:
    /// <c>model => torch.optim.SGD(model.parameters(), learningRate: 0.01)</c>; one with a memory loads its state here. It is
    /// disposed after the step.
    /// </param>
    /// <param name="progress">Told after each step.</param>
    /// <param name="cancellationToken">Checked before each step.</param>
    /// <returns>The fall after a step on proponents, and on random examples.</returns>
    /// <exception cref="InfluenceException">Ids that do not meet, or a loss of another shape than one value an example.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public Result Evaluate(
        InfluenceTask task,
        Examples train,
        Examples queries,
        InfluenceScores scores,
        Func<nn.Module, optim.Optimizer> optimizer,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(queries);
        ArgumentNullException.ThrowIfNull(scores);
        ArgumentNullException.ThrowIfNull(optimizer);
        InfluenceException.ThrowIfAny([
            .. Missing(train, scores.TrainIds, "training examples"),
            .. Missing(queries, scores.QueryIds, "queries"),
        ]);
        cancellationToken.ThrowIfCancellationRequested();
        var random = new KeyedRandom(Seed, "tail patch");
        var baseline = scores.TrainIds.OrderBy(random.Of).Take(RandomExamples).ToHashSet();
        var triedBy = Enumerable
            .Range(0, scores.QueryIds.Count)
            .SelectMany(q => scores.Proponents(q, Proponents).Ids.Select(id => (Train: id, Query: scores.QueryIds[q])))
            .ToLookup(p => p.Train, p => p.Query);
        long[] steps = [.. triedBy.Select(g => g.Key).Union(baseline)];
        var (falls, randomFalls) = (
            scores.QueryIds.ToDictionary(id => id, _ => new List<double>()),
            scores.QueryIds.ToDictionary(id => id, _ => new List<double>())
        );
        var clock = Stopwatch.StartNew();
        var done = 0;
        using var kept = new KeptState(task.Model);
        ProbeStep.Check(task.Model, optimizer);
        var before = Measure(task, queries.Only(scores.QueryIds));
        foreach (var batch in train.Only(steps).Batches())
        {
            for (var i = 0; i < batch.Count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var id = batch.Ids[i];
                var position = i;
                ProbeStep.Take(task.Model, kept, optimizer, () => Trained(task, batch.Pick([position])).sum());
                var after = Measure(task, queries.Only(baseline.Contains(id) ? scores.QueryIds : [.. triedBy[id]]));
                kept.Restore();
                foreach (var query in triedBy[id])
                {
                    falls[query].Add(before[query] - after[query]);
                }

                if (baseline.Contains(id))
                {
                    foreach (var query in scores.QueryIds)
                    {
                        randomFalls[query].Add(before[query] - after[query]);
                    }
                }

                using var callback = ModelInUse.CallingBack("the progress callback");
                progress?.Report(new InfluenceProgress("tail patch", ++done, steps.Length, clock.Elapsed));
            }
        }

        long[] finite = [.. scores.QueryIds.Where(id => falls[id].Concat(randomFalls[id]).All(double.IsFinite))];
        double[] a = [.. finite.Select(id => falls[id].Average())],
            b = [.. finite.Select(id => randomFalls[id].Average())];
        return new Result(
            scores.Metadata.Estimator,
            Bootstrap.Mean("queries", a),
            Bootstrap.Mean("queries", b),
            Bootstrap.Mean("queries", [.. a.Zip(b, (x, y) => x - y)]),
            [.. finite.Zip(a)],
            [.. scores.QueryIds.Except(finite).Select(id => (id, "its measurement is not finite"))]
        );
    }

    private static IEnumerable<string> Missing(Examples examples, IReadOnlyList<long> ids, string what)
    {
        var missing = ids.Except(examples.Ids).ToList();
        if (missing.Count > 0)
        {
            yield return $"The scores are of {what} that are not there: ids {InfluenceException.List(missing)}.";
        }
    }

    private static Tensor Trained(InfluenceTask task, ExampleBatch batch) => MeasuredLosses.Checked(task.TrainingLoss(batch), batch);

    private static Dictionary<long, double> Measure(InfluenceTask task, Examples queries) =>
        MeasuredLosses.Of(task.Measurement ?? task.TrainingLoss, queries).ToDictionary(pair => pair.Id, pair => pair.Loss);

    /// <summary>Whether proponents help when they are trained on once more.</summary>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed class Result : IDisplay
    {
        private readonly string _name;

        internal Result(
            string name,
            Estimate proponents,
            Estimate random,
            Estimate difference,
            IReadOnlyList<(long QueryId, double Fall)> queries,
            IReadOnlyList<(long QueryId, string Reason)> dropped
        )
        {
            (_name, Proponents, Random, Difference, Queries, Dropped) = (name, proponents, random, difference, queries, dropped);
        }

        /// <summary>The fall of the measurement after a step on a proponent, mean over proponents and queries; positive = it
        /// helps.</summary>
        public Estimate Proponents { get; }

        /// <summary>The same after a step on a random example.</summary>
        public Estimate Random { get; }

        /// <summary>The one less the other, query by query.</summary>
        public Estimate Difference { get; }

        /// <summary>The mean fall query by query.</summary>
        public IReadOnlyList<(long QueryId, double Fall)> Queries { get; }

        /// <summary>Queries that could not be judged, and why.</summary>
        public IReadOnlyList<(long QueryId, string Reason)> Dropped { get; }

        /// <summary>A table of the figures.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment: at most 50 rows.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        private Table ToTable() =>
            new(
                $"Tail patch: {_name}, fall of the measurement after one step, {Queries.Count:N0} queries, {Dropped.Count:N0} dropped",
                ["one step on", "mean over queries", "lower", "upper"],
                [Row("a proponent", Proponents), Row("a random example", Random), Row("the difference", Difference)]
            );

        private static IReadOnlyList<object> Row(string name, Estimate estimate) => [name, estimate.Value, estimate.Lower, estimate.Upper];
    }
}
