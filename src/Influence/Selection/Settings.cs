using System.Globalization;

namespace Influence.Selection;

/// <summary>Checks of settings, with one wording.</summary>
internal static class Settings
{
    public static int AtLeastOne(int value, string name) => value >= 1
        ? value
        : throw new InfluenceException($"{name} is at least 1, not {value}.");

    public static int ClusterSize(int value) => value is >= 1 and <= 8192
        ? value
        : throw new InfluenceException($"ClusterSize is from 1 to 8,192 (all pairs of a cluster are in memory), not {value}.");

    public static double NotNegative(double value, string name) => value >= 0 && double.IsFinite(value)
        ? value
        : throw new InfluenceException($"{name} is at least 0 and finite, not {value.ToString(CultureInfo.InvariantCulture)}.");

    public static double Share(double value, string name) => value is >= 0 and <= 1
        ? value
        : throw new InfluenceException($"{name} is from 0 to 1, not {value.ToString(CultureInfo.InvariantCulture)}.");
}
