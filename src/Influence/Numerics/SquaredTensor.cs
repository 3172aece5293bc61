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

    /// <summary>The Euclidean norm of all elements, summed in float64.</summary>
    public static double Norm(this Tensor x)
    {
        using var scope = NewDisposeScope();
        return Math.Sqrt(x.to_type(ScalarType.Float64).Squared().sum().cpu().item<double>());
    }
}
