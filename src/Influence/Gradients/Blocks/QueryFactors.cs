using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Copies of two factors of consecutive queries, kept in place of their written-out gradients.</summary>
/// <param name="First">Activations <c>[Q, T, I]</c>, or the tokens <c>[Q, T]</c> of an embedding.</param>
/// <param name="Second">Output gradients, <c>[Q, T, O]</c>.</param>
/// <param name="Weights">Weights in an eigenbasis, not owned; null for plain products.</param>
internal sealed record QueryFactors(Tensor First, Tensor Second, SpectralWeights? Weights = null);
