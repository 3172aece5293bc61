using System.Globalization;

namespace Influence.Curvature;

/// <summary>
/// What is added to every eigenvalue of the curvature before it is inverted, (H + damping I)^-1. Too little lets directions
/// that the data hardly show dominate; too much leaves a gradient dot product.
/// </summary>
/// <remarks>
/// Weight decay belongs in it: at an optimum trained with an L2 penalty of decay/2 |w|^2 (SGD's or Adam's <c>weight_decay</c>) beside the mean loss, the curvature of
/// what was minimised is H + decay I, so <c>Damping.Absolute(decay)</c> gives its inverse where the task's loss leaves the penalty out; where the
/// task's loss contains it, <see cref="CurvatureMatrix.Hessian"/> has it already, and it must not be added again.
/// </remarks>
public sealed record Damping
{
    private const string Relative = " x mean eigenvalue";
    private const string AbsoluteEnding = " absolute";

    private Damping(double value, bool relative)
    {
        if (!double.IsFinite(value) || value < 0)
        {
            throw new InfluenceException($"Damping is a finite number that is not negative; found {value.ToString(CultureInfo.InvariantCulture)}.");
        }

        (Value, IsRelative) = (value, relative);
    }

    /// <summary>The number: absolute, or a factor on the mean eigenvalue.</summary>
    public double Value { get; }

    /// <summary>Whether <see cref="Value"/> multiplies each layer's mean eigenvalue.</summary>
    public bool IsRelative { get; }

    /// <summary>0.1 times the mean eigenvalue: Grosse et al. 2023, section 5.1.</summary>
    public static Damping Default { get; } = RelativeToMeanEigenvalue(0.1);

    /// <summary>
    /// A factor on the mean eigenvalue: of each layer for layer-wise curvature, of the whole for solvers that treat the
    /// parameters as one.
    /// </summary>
    /// <param name="factor">The factor; 0.1 is usual.</param>
    /// <returns>The damping.</returns>
    /// <exception cref="InfluenceException">Negative, NaN or infinite.</exception>
    public static Damping RelativeToMeanEigenvalue(double factor) => new(factor, relative: true);

    /// <summary>The same number for every layer, in the unit of the curvature (loss over squared parameter).</summary>
    /// <param name="value">The damping; 0 gives the pseudo-inverse.</param>
    /// <returns>The damping.</returns>
    /// <exception cref="InfluenceException">Negative, NaN or infinite.</exception>
    public static Damping Absolute(double value) => new(value, relative: false);

    /// <summary>The absolute damping for a curvature of that mean eigenvalue.</summary>
    internal double For(double meanEigenvalue) => IsRelative ? Value * meanEigenvalue : Value;

    /// <summary>For example <c>0.1 x mean eigenvalue</c>.</summary>
    /// <returns>One line.</returns>
    public override string ToString() => Value.ToString("R", CultureInfo.InvariantCulture) + (IsRelative ? Relative : AbsoluteEnding);

    /// <summary>What <see cref="ToString"/> writes; null for anything else.</summary>
    internal static Damping? TryParse(string text)
    {
        var isRelative = text.EndsWith(Relative, StringComparison.Ordinal);
        return (isRelative || text.EndsWith(AbsoluteEnding, StringComparison.Ordinal))
            && double.TryParse(text.AsSpan(0, text.Length - (isRelative ? Relative : AbsoluteEnding).Length), NumberStyles.Float, CultureInfo.InvariantCulture, out var value)
            && double.IsFinite(value) && value >= 0
            ? new Damping(value, isRelative)
            : null;
    }
}
