using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using TorchSharp;

namespace Influence.Groups;

/// <summary>TracIn: plain gradients at each checkpoint, times its learning rate or its optimizer's step.</summary>
internal sealed class LinearTracIn(TracIn tracIn) : LinearEstimator
{
    public override long MemoryBudget => tracIn.MemoryBudget;

    public override string Name => tracIn.Name;

    public override int Steps => Math.Max(1, tracIn.Checkpoints?.Count ?? 0);

    public override IEnumerable<string> Problems()
    {
        if (tracIn.Similarity == TracIn.GradientSimilarity.Cosine)
        {
            yield return "Group influence sums gradients before it compares them, and cosines are not linear in the gradients. Leave "
                + "Similarity at TracIn.GradientSimilarity.Dot, or sum the members' scores of TracIn.Score yourself.";
        }

        if (tracIn.Aggregation != InfluenceFunction.QueryAggregation.None)
        {
            yield return "Group influence takes the mean over each query group itself; found Aggregation = "
                + $"InfluenceFunction.QueryAggregation.{tracIn.Aggregation}. Leave it at None, and give "
                + "queryGroups: ExampleGroups.Of(queries.Ids, _ => \"all queries\") for one row.";
        }

        if (tracIn.Direction is not (TracIn.UpdateDirection.Sgd or TracIn.UpdateDirection.Optimizer))
        {
            yield return "Group influence sums gradients before it compares them, and the direction "
                + $"{nameof(TracIn.UpdateDirection)}.{tracIn.Direction} is not linear in the gradient. "
                + "Write Direction = TracIn.UpdateDirection.Optimizer or Sgd, or sum the members' scores of TracIn.Score yourself.";
        }
    }

    public override ScoreMetadata Run(
        InfluenceTask task,
        Examples train,
        Examples queries,
        ProgressReporter reporter,
        Action<LinearStep> step
    )
    {
        tracIn.CheckDirection();
        using var weights = new WeightKeeper(task.Model, tracIn.Checkpoints ?? []);
        ScoreMetadata? metadata = null;
        for (var i = 0; i < Steps; i++)
        {
            reporter.Token.ThrowIfCancellationRequested();
            var rates = weights.Load(i);
            reporter.Checkpoint(i + 1);
            using var session = GradientSession.Open(task, train, queries, memory: tracIn.MemoryBudget);
            metadata ??= tracIn.Metadata(task, session.Coverage, self: false);
            var (layout, unchanged) = (new ParameterVector(session), new UnchangedWeights(task.Model));
            if (tracIn.Direction == TracIn.UpdateDirection.Optimizer)
            {
                using var metric = OptimizerMetric.Of(session, tracIn.Checkpoints![i]);
                using var steps = metric.Vector(session);
                step(new LinearStep(session, layout, rows => rows * steps, 1));
                unchanged.Check();
                continue;
            }

            step(
                rates.AreSame
                    ? new LinearStep(session, layout, rows => rows.alias(), rates.Largest)
                    : new LinearStep(session, layout, rows => rows * layout.Each(p => rates.Of(p.Name).LearningRate), 1)
            );
            unchanged.Check();
        }

        return metadata!;
    }
}
