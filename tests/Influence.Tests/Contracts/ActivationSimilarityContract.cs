using Influence.Estimators;

namespace Influence.Tests.Contracts;

public sealed class ActivationSimilarityContract : PairEstimatorContract
{
    internal override IPairEstimator Estimator() => new ActivationSimilarity();
}
