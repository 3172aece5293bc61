using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Models in float16 and bfloat16 run as they are, forward and backward to the layers' outputs; what the layers saw is widened to float32
/// before any gradient, statistic or product is formed of it. So a score has the rounding of the model's own pass and no other.
/// </summary>
internal static class HalfPrecision
{
    public static bool IsHalf(ScalarType type) => type is ScalarType.Float16 or ScalarType.BFloat16;

    /// <summary>The type that gradients are kept in.</summary>
    public static ScalarType Wide(ScalarType type) => IsHalf(type) ? ScalarType.Float32 : type;

    /// <summary>The tensor itself, or in float32 where its numbers are half as wide; in the current scope.</summary>
    public static Tensor Wide(Tensor tensor) => IsHalf(tensor.dtype) ? tensor.to_type(ScalarType.Float32) : tensor;

    /// <summary>The relative error that the same numbers may have by another way through the model, as in another batch.</summary>
    /// <param name="type">The model's.</param>
    /// <param name="single">What is room enough in float32.</param>
    /// <param name="precise">What is in float64.</param>
    public static double Room(ScalarType type, double single, double precise) =>
        type switch
        {
            ScalarType.Float64 => precise,
            ScalarType.Float16 or ScalarType.BFloat16 => Math.Max(single, 5e-2),
            _ => single,
        };

    /// <exception cref="InfluenceException">The model is in half precision.</exception>
    public static void Refuse(GradientSession session, string what)
    {
        if (IsHalf(session.ModelDtype))
        {
            throw new InfluenceException(
                $"{what} differentiate twice, which half precision has no digits for; the model's parameters are {session.ModelDtype}. "
                    + "Write model.to(torch.float32) first. TracIn, K-FAC, EK-FAC and "
                    + "the diagonal take models in half precision."
            );
        }
    }
}
