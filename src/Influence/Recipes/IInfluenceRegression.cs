using static TorchSharp.torch;

namespace Influence.Recipes;

/// <summary>
/// A way to learn influence from features: <see cref="RidgeRegression"/>, <see cref="MlpRegression"/>, <see cref="ModuleRegression"/> with
/// a module of your own, a small language model for instance, or a class of your own.
/// </summary>
public interface IInfluenceRegression
{
    /// <summary>What it is, for metadata.</summary>
    string Name { get; }

    /// <summary>Fits it. Targets have mean 0 and variance 1, and so has each column of the features that is not constant.</summary>
    /// <param name="features"><c>[n, d]</c>, float64, on the CPU; the caller's.</param>
    /// <param name="targets"><c>[n]</c>, float64, on the CPU; the caller's.</param>
    /// <param name="seed">Of everything that is random.</param>
    /// <param name="cancellationToken">Checked now and then.</param>
    /// <returns>The fit; the caller disposes it.</returns>
    IInfluencePredictor Fit(Tensor features, Tensor targets, long seed, CancellationToken cancellationToken);
}

/// <summary>A fitted regression.</summary>
public interface IInfluencePredictor : IDisposable
{
    /// <summary>What was found, in a few words: a penalty, a number of epochs.</summary>
    string Description { get; }

    /// <summary>Predicts.</summary>
    /// <param name="features"><c>[n, d]</c>, float64, on the CPU, standardised as in the fit.</param>
    /// <returns><c>[n]</c>, in the current dispose scope.</returns>
    Tensor Predict(Tensor features);
}
