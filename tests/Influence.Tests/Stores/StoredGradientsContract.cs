using Influence.Curvature;
using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Contracts;
using Influence.Tests.Oracles;
using TorchSharp;

namespace Influence.Tests.Stores;

/// <summary>Scores from a store keep to what everything that scores pairs keeps to.</summary>
public sealed class StoredGradientsContract : PairEstimatorContract
{
    private readonly TempFolder _store = new();
    private GradientStore? _written;

    internal override IPairEstimator Estimator() =>
        new StoredGradients(
            _written ??= GradientStore.Write(
                C.Task(),
                C.Train,
                new GradientProjection
                {
                    Dimension = 3,
                    Dtype = torch.ScalarType.Float64,
                    ExamplesPerShard = 4,
                },
                _store.FullName
            )
        )
        {
            Damping = Damping.Default,
        };

    protected override void Dispose(bool disposing)
    {
        _store.Dispose();
        base.Dispose(disposing);
    }
}
