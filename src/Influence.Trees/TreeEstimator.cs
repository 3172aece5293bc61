using System.Collections.Concurrent;
using System.Diagnostics;
using TorchSharp;

namespace Influence.Trees;

/// <summary>
/// Scores pairs of a training example and a query under a model of boosted trees. A positive score is a proponent, as everywhere in the
/// library: without the example the query's loss would be higher.
/// </summary>
/// <remarks>
/// A model of trees has no gradients of parameters, so these are no <c>IPairEstimator</c>; their scores are the same, and selection,
/// evaluation, files and reports take them. Influence Estimation in Gradient-Boosted Decision Trees (Brophy, Hammoudeh and Lowd, JMLR 2023)
/// compares the methods.
/// </remarks>
public abstract record TreeEstimator
{
    private protected TreeEstimator() { }

    private protected abstract string Title { get; }

    private protected abstract ScoreMetadata Metadata(string notes);

    /// <summary>Fills the scores; returns notes.</summary>
    private protected abstract string Compute(TreeWork work);

    /// <summary>Scores every training example for every query.</summary>
    /// <param name="model">The model.</param>
    /// <param name="train">The N examples that it was trained on.</param>
    /// <param name="queries">Q queries; their loss is explained.</param>
    /// <param name="progress">Told of training examples, or of trees, that are done, on the calling thread.</param>
    /// <param name="cancellationToken">Checked between them.</param>
    /// <returns><c>[Q, N]</c> in float64; the caller disposes it.</returns>
    /// <exception cref="InfluenceException">Features or targets that are not the model's, or a model that the method does not
    /// serve.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public InfluenceScores Score(
        BoostedTrees model,
        TabularExamples train,
        TabularExamples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        Check(model, train);
        ArgumentNullException.ThrowIfNull(queries);
        model.Check(queries, "Queries");
        var work = new TreeWork(model, train, queries, pairs: true, progress, cancellationToken);
        var notes = Compute(work);
        work.CheckFinite(Title);
        return new InfluenceScores(
            torch.tensor(work.Scores, [queries.Count, train.Count], torch.ScalarType.Float64),
            queries.Ids,
            train.Ids,
            Metadata(notes)
        );
    }

    /// <summary>Scores each training example for itself: high where the model expects its target only because it was trained on it, as with
    /// wrong labels.</summary>
    /// <param name="model">The model.</param>
    /// <param name="train">The N examples that it was trained on.</param>
    /// <param name="progress">Told of training examples, or of trees, that are done, on the calling thread.</param>
    /// <param name="cancellationToken">Checked between them.</param>
    /// <returns>One score an example, the diagonal of <see cref="Score"/> of the examples with themselves.</returns>
    /// <exception cref="InfluenceException">Features or targets that are not the model's, or a model that the method does not
    /// serve.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public ExampleScores SelfInfluence(
        BoostedTrees model,
        TabularExamples train,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        Check(model, train);
        var work = new TreeWork(model, train, train, pairs: false, progress, cancellationToken);
        Compute(work);
        work.CheckFinite(Title);
        return ExampleScores.Of(train.Ids, work.Scores, $"Self-influence, {Title}");
    }

    private static void Check(BoostedTrees model, TabularExamples train)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(train);
        model.Check(train, "Training examples");
    }
}

/// <summary>What one call has to fill: scores of all pairs, or of each example with itself.</summary>
internal sealed class TreeWork(
    BoostedTrees model,
    TabularExamples train,
    TabularExamples queries,
    bool pairs,
    IProgress<InfluenceProgress>? progress,
    CancellationToken token
)
{
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly ConcurrentBag<object> _idle = [];

    public BoostedTrees Model { get; } = model;

    public TabularExamples Train { get; } = train;

    public TabularExamples Queries { get; } = queries;

    /// <summary>Whether all pairs are asked for, <c>[Q * N]</c>; else <c>[N]</c>, each with itself.</summary>
    public bool Pairs { get; } = pairs;

    public CancellationToken Token { get; } = token;

    public double[] Scores { get; } = new double[pairs ? checked(queries.Count * train.Count) : train.Count];

    /// <summary>The queries for which a training example is scored.</summary>
    public (int First, int End) QueriesOf(int example) => Pairs ? (0, Queries.Count) : (example, example + 1);

    public ref double At(int query, int example) => ref Scores[Pairs ? ((long)query * Train.Count) + example : example];

    public void Report(string stage, long done, long total) => progress?.Report(new InfluenceProgress(stage, done, total, _clock.Elapsed));

    /// <summary>
    /// Does something for each training example, several at a time, with buffers of each thread; reports from the calling thread.
    /// </summary>
    public void ForEachExample<T>(string stage, Func<T> buffers, Action<int, T> act)
    {
        const int Block = 64;
        for (var first = 0; first < Train.Count; first += Block)
        {
            Token.ThrowIfCancellationRequested();
            Report(stage, first, Train.Count);
            Parallel.For(
                first,
                Math.Min(first + Block, Train.Count),
                () => _idle.TryTake(out var kept) ? (T)kept : buffers(),
                (i, _, own) =>
                {
                    act(i, own);
                    return own;
                },
                own => _idle.Add(own!)
            );
        }

        Report(stage, Train.Count, Train.Count);
    }

    public void CheckFinite(string title)
    {
        if (Array.FindIndex(Scores, s => !double.IsFinite(s)) is >= 0 and var wrong)
        {
            throw new InfluenceException(
                $"{title} gave a score that is not finite for training example {Train.Ids[wrong % Train.Count]}: "
                    + "its leaf has no second derivative left. Use lambda_l2 above 0."
            );
        }
    }
}
