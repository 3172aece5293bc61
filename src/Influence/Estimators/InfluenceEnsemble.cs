using Influence.Curvature;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Influence functions averaged over several checkpoints of a run, or over several models: curvature is fitted anew at each.
/// Averages are closer to retraining than any one member, because the members' errors are partly independent.
/// </summary>
/// <remarks>
/// The members are the task's model at each of <see cref="Checkpoints"/>, or at its present weights without any, and each of
/// <see cref="OtherModels"/> at its own. Where a sink takes the scores in several blocks, the fits of all members are kept meanwhile; with
/// one block, as for all scores in memory, one at a time. With a way to fit that takes a seed, the members are fits of the one model with
/// other labels drawn, <see cref="LabelFits"/> of them: their spread is the error of estimating the curvature, and nothing else.
/// </remarks>
/// <example>
/// <code>
/// var ensemble = new InfluenceEnsemble(task => Ekfac.Fit(task, train)) { Checkpoints = recorder.Checkpoints };
/// using var scores = ensemble.Score(task, train, queries);
/// </code>
/// </example>
public sealed partial record InfluenceEnsemble : IPairEstimator
{
    private readonly Func<InfluenceTask, long, Preconditioner> _fit;

    /// <summary>Takes the way to fit curvature.</summary>
    /// <param name="fit">Fits a preconditioner at a task's current weights; it is disposed after use.</param>
    public InfluenceEnsemble(Func<InfluenceTask, Preconditioner> fit)
    {
        ArgumentNullException.ThrowIfNull(fit);
        _fit = (task, _) => fit(task);
    }

    /// <summary>How a member scores: damping, normalisation, aggregation.</summary>
    /// <value>The defaults of <see cref="InfluenceFunction"/>.</value>
    public Func<Preconditioner, InfluenceFunction> Function { get; init; } = preconditioner => new InfluenceFunction(preconditioner);

    /// <summary>The checkpoints of the task's model; learning rates do not count. Copied.</summary>
    /// <value>Null: the model's current weights.</value>
    /// <exception cref="InfluenceException">An empty list.</exception>
    public IReadOnlyList<Checkpoint>? Checkpoints
    {
        get;
        init => field = CheckpointList.Copy(value, 1, "to average over");
    }

    /// <summary>Other models that were trained on the same data, with other seeds for instance, each with its own loss delegate.
    /// Copied.</summary>
    /// <value>None.</value>
    public IReadOnlyList<InfluenceTask> OtherModels
    {
        get;
        init => field = [.. value ?? throw new ArgumentNullException(nameof(value))];
    } = [];

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
        CheckLabelFits();
        using var weights = new WeightKeeper(task.Model, Checkpoints ?? []);
        using var fits = new Fits(MemberCount);
        var atOnce = sink.ExamplesAtOnce(queries.Count, train.Count);
        ScoreMetadata? metadata = null;
        foreach (var (first, block) in TrainingBlocks.Of(train, atOnce))
        {
            using var scope = NewDisposeScope();
            Tensor? sum = null; // [Q, b]
            for (var member = 0; member < fits.Count; member++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                var model = Member(member, task, weights);
                var preconditioner = fits.Of(member, () => Fitted(model, member));
                using var scores = Function(preconditioner).Score(model, block, queries, progress, cancellationToken);
                if (metadata is null)
                {
                    metadata = scores.Metadata;
                    sink.Begin(scores.QueryIds, train.Ids, scores.Values.dtype);
                }

                sum = sum is null ? scores.Values / Kept(fits.Count) : sum.add_(scores.Values, Kept(1.0 / fits.Count));
                if (atOnce >= train.Count)
                {
                    fits.Forget(member);
                }
            }

            sink.Add(0, first, sum!);
        }

        return metadata! with
        {
            Checkpoints = Described(),
        };
    }

    private int OwnMembers => DrawsLabels ? LabelFits : Math.Max(1, Checkpoints?.Count ?? 0);

    private int MemberCount => OwnMembers + OtherModels.Count;

    /// <summary>A member's model and loss; where it is one of the checkpoints, its weights are then in the task's model.</summary>
    private InfluenceTask Member(int member, InfluenceTask task, WeightKeeper weights)
    {
        if (member >= OwnMembers)
        {
            return OtherModels[member - OwnMembers];
        }

        weights.Load(DrawsLabels ? 0 : member);
        return task;
    }

    private string Described()
    {
        if (DrawsLabels)
        {
            var at = Checkpoints is [var only] ? $"step {only.Step}" : "current weights";
            return $"{at}, mean over {LabelFits} fits of the curvature, each with labels of its own";
        }

        var own = Checkpoints is null ? "current weights" : string.Join("; ", Checkpoints.Select(c => $"step {c.Step}"));
        return $"mean over {own}" + (OtherModels.Count == 0 ? string.Empty : $" and {OtherModels.Count} other models");
    }

    /// <summary>The members' fits, made when they are wanted.</summary>
    private sealed class Fits(int count) : IDisposable
    {
        private readonly Preconditioner?[] _all = new Preconditioner?[count];

        public int Count => _all.Length;

        public Preconditioner Of(int member, Func<Preconditioner> fit) => _all[member] ??= fit();

        public void Forget(int member)
        {
            _all[member]?.Dispose();
            _all[member] = null;
        }

        public void Dispose()
        {
            for (var member = 0; member < _all.Length; member++)
            {
                Forget(member);
            }
        }
    }
}
