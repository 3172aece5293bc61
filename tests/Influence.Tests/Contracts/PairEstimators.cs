using Influence.Curvature;
using Influence.Estimators;

namespace Influence.Tests.Contracts;

public sealed class GradientProductContract : PairEstimatorContract
{
    internal override IPairEstimator Estimator() => new TracIn();
}

public sealed class TracInContract : PairEstimatorContract
{
    private IReadOnlyList<Checkpoint>? _checkpoints;

    internal override IPairEstimator Estimator() =>
        new TracIn
        {
            Checkpoints = _checkpoints ??= [Saved("a", 1.2, 0.1, 1), Saved("b", 0.8, 0.2, 2), Saved("c", 1, 0.05, 3)],
            Similarity = TracIn.GradientSimilarity.Cosine,
            MemoryBudget = 1,
        };
}

public sealed class AggregatedTracInContract : PairEstimatorContract
{
    private IReadOnlyList<Checkpoint>? _checkpoints;

    internal override IPairEstimator Estimator() =>
        new TracIn
        {
            Checkpoints = _checkpoints ??= [Saved("a", 1.2, 0.1, 1), Saved("b", 0.8, 0.2, 2)],
            Aggregation = InfluenceFunction.QueryAggregation.Mean,
        };
}

public sealed class InfluenceFunctionContract : PairEstimatorContract
{
    private Preconditioner? _fit;

    internal override IPairEstimator Estimator() =>
        new InfluenceFunction(_fit ??= Ekfac.Fit(C.Task(), C.Train))
        {
            Tolerance = 0,
            Normalization = InfluenceFunction.ScoreNormalization.Loss,
            MemoryBudget = 1,
        };

    protected override void Dispose(bool disposing)
    {
        _fit?.Dispose();
        base.Dispose(disposing);
    }
}

public sealed class AggregatedInfluenceContract : PairEstimatorContract
{
    private Preconditioner? _fit;

    internal override IPairEstimator Estimator() =>
        new InfluenceFunction(_fit ??= Kfac.Fit(C.Task(), C.Train))
        {
            Tolerance = 0,
            Aggregation = InfluenceFunction.QueryAggregation.Mean,
        };

    protected override void Dispose(bool disposing)
    {
        _fit?.Dispose();
        base.Dispose(disposing);
    }
}

public sealed class SourceContract : PairEstimatorContract
{
    private IReadOnlyList<Source.Segment>? _segments;

    internal override IPairEstimator Estimator() =>
        new Source(_segments ??= [new([Saved("a", 1.2, 0.1, 1), Saved("b", 0.8, 0.2, 2)], 7, 0.2), new([Saved("c", 1, 0.05, 3)], 5, 0.1)]);
}

public sealed class InfluenceEnsembleContract : PairEstimatorContract
{
    private IReadOnlyList<Checkpoint>? _checkpoints;

    internal override IPairEstimator Estimator() =>
        new InfluenceEnsemble(task => Ekfac.Fit(task, C.Train))
        {
            Checkpoints = _checkpoints ??= [Saved("a", 1.2, 0.1, 1), Saved("b", 0.8, 0.2, 2)],
            OtherModels = [C.Task()],
            Function = fit => new InfluenceFunction(fit) { Tolerance = 0 },
        };
}
