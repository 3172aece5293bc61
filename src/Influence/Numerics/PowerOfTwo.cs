using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Numerics;

/// <summary>
/// Powers of two near a magnitude. Numbers divided by theirs are near 1, so that their squares neither overflow nor vanish, and
/// nothing is rounded: what is found is the same, digit by digit.
/// </summary>
internal static class PowerOfTwo
{
    /// <summary>The largest one that is not above a magnitude, within what can be inverted; 1 for 0.</summary>
    public static double Of(double magnitude, ScalarType dtype = ScalarType.Float64)
    {
        var most = dtype == ScalarType.Float64 ? 1000 : 120;
        return magnitude == 0 ? 1 : Math.ScaleB(1, Math.Clamp(Math.ILogB(magnitude), -most, most));
    }

    /// <summary>That of the entry that is farthest from 0.</summary>
    public static double Of(Tensor values)
    {
        using var scope = NewDisposeScope();
        var (highest, lowest) = (values.max(), values.min());
        return Of(Math.Max(Math.Abs(Number(highest)), Math.Abs(Number(lowest))), values.dtype);
    }

    private static double Number(Tensor value) => value.to_type(ScalarType.Float64).item<double>();
}
