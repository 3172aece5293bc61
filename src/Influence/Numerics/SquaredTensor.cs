using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>
/// Squares without a number beside the tensor: TorchSharp's <c>square()</c> is a power whose exponent is a hidden temporary, which its
/// finaliser may free while libtorch still reads it.
/// </summary>
internal static class SquaredTensor
{
    /// <summary>x², of the same shape, in the current scope.</summary>
    public static Tensor Squared(this Tensor x) => x * x;
}
