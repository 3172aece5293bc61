namespace Influence.Mixtures;

/// <summary>One step of <see cref="ScaleBio{TModel}"/>.</summary>
/// <param name="Contrasts">c_i = l_i(w) - l_i(u) before the step: negative where more of the source would help.</param>
/// <param name="Alpha">The penalty; alpha c_i estimates minus the source's influence on the validation loss.</param>
/// <param name="ValidationLoss">Of the model, before the step.</param>
/// <param name="Mixture">The weights after the step.</param>
public sealed record ScaleBioStep(IReadOnlyList<double> Contrasts, double Alpha, double ValidationLoss, Mixture Mixture);
