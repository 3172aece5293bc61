using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;

namespace Influence.Groups;

/// <summary>Influence functions: queries preconditioned once, at the weights of the fit.</summary>
internal sealed class LinearInfluence(InfluenceFunction function) : LinearEstimator
{
    public override long MemoryBudget => function.MemoryBudget;

    public override string Name => function.Name;

    public override int Steps => 1;

    public override IEnumerable<string> Problems()
    {
        if (function.Normalization != InfluenceFunction.ScoreNormalization.None)
        {
            yield return "Group influence sums gradients before it scores them, and scores normalised by "
                + $"{nameof(InfluenceFunction.ScoreNormalization)}.{function.Normalization} (RelatIF) are not linear in the "
                + "gradients. Leave Normalization at InfluenceFunction.ScoreNormalization.None, or sum the members' scores of "
                + "InfluenceFunction.Score yourself.";
        }

        if (function.Aggregation != InfluenceFunction.QueryAggregation.None)
        {
            yield return "Group influence takes the mean over each query group itself; found Aggregation = "
                + $"InfluenceFunction.QueryAggregation.{function.Aggregation}. Leave it at None, and give "
                + "queryGroups: ExampleGroups.Of(queries.Ids, _ => \"all queries\") for one row.";
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
        using var session = GradientSession.Open(task, train, queries, memory: function.MemoryBudget);
        using var inverse = function.Preconditioner.Prepare(session, function.Damping, 0, reporter.Token);
        var (layout, unchanged) = (new ParameterVector(session), new UnchangedWeights(task.Model));
        step(new LinearStep(session, layout, new InnerInverse(inverse, layout, damping: 0).Apply, 1));
        unchanged.Check();
        return function.Metadata(task, session, inverse);
    }
}
