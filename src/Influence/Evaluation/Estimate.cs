using System.Globalization;

namespace Influence.Evaluation;

/// <summary>A value with its interval: what chance alone could have made of it.</summary>
/// <param name="Value">The value on the data as they are.</param>
/// <param name="Lower">The interval's lower end; NaN where no interval was asked for.</param>
/// <param name="Upper">The interval's upper end.</param>
public readonly record struct Estimate(double Value, double Lower, double Upper)
{
    /// <summary>Whether the interval holds a value, as 0 for "no better than chance".</summary>
    /// <param name="value">The value.</param>
    public bool Contains(double value) => Lower <= value && value <= Upper;

    /// <summary>The value and its interval, for example <c>0.441 [0.402, 0.480]</c>.</summary>
    /// <returns>One line.</returns>
    public override string ToString() =>
        double.IsNaN(Lower)
            ? Value.ToString("0.000", CultureInfo.InvariantCulture)
            : string.Create(CultureInfo.InvariantCulture, $"{Value:0.000} [{Lower:0.000}, {Upper:0.000}]");
}
