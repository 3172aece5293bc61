using System.Diagnostics.CodeAnalysis;
using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>Gradients of embeddings made with <c>sparse: true</c> come as sparse tensors, which most operators refuse.</summary>
internal static class StridedTensor
{
    /// <summary>The same numbers, written out where the tensor is sparse.</summary>
    [return: NotNullIfNotNull(nameof(tensor))]
    public static Tensor? Strided(this Tensor? tensor) => tensor is { is_sparse: true } ? tensor.to_dense() : tensor;
}
