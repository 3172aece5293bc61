using System.Globalization;
using System.Runtime.CompilerServices;

namespace TorchSharp.Modules;

/// <summary>Checks of optimizer settings. NaN passes none of them.</summary>
internal static class Setting
{
    public static void NotNegative(double value, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        if (!(value >= 0))
        {
            throw new ArgumentException($"{name} must not be negative, but is {Text(value)}.", name);
        }
    }

    /// <summary>The decay of a running mean is at least 0 and less than 1.</summary>
    public static void Decay(double value, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        if (!(value is >= 0 and < 1))
        {
            throw new ArgumentException($"{name} must be at least 0 and less than 1, but is {Text(value)}.", name);
        }
    }

    private static string Text(double value) => value.ToString(CultureInfo.InvariantCulture);
}
