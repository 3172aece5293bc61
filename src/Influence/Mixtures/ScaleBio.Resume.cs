using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Mixtures;

/// <summary>Goes on with an interrupted run of <see cref="ScaleBio{TModel}"/>.</summary>
public static class ScaleBio
{
    /// <summary>
    /// Pairs two models that have stepped side by side before. Save both models' and both optimizers' states with
    /// <see cref="ScaleBio{TModel}.Mixture"/> and <see cref="ScaleBio{TModel}.Alpha"/>; load the states, call this, and set Alpha and the
    /// rate of the weights: the run goes on as if it had not ended.
    /// </summary>
    /// <typeparam name="TModel">The model's type.</typeparam>
    /// <param name="model">The model that is wanted, at the weights where the run ended.</param>
    /// <param name="modelOptimizer">Over its parameters.</param>
    /// <param name="proxy">Its proxy, at its own weights, which it keeps.</param>
    /// <param name="proxyOptimizer">Over the proxy's parameters.</param>
    /// <param name="mixture">The sources' weights where the run ended.</param>
    /// <returns>The pair.</returns>
    /// <exception cref="InfluenceException">The same model twice, models of unlike parameters, or a source of weight 0.</exception>
    public static ScaleBio<TModel> Resume<TModel>(
        TModel model,
        optim.Optimizer modelOptimizer,
        TModel proxy,
        optim.Optimizer proxyOptimizer,
        Mixture mixture
    )
        where TModel : nn.Module => new(mixture, model, modelOptimizer, proxy, proxyOptimizer);
}
