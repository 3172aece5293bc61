using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace Influence;

/// <summary>
/// Judges settings where they are set, with one wording: <c>init => field = Check.AtLeastOne(value);</c> gives the value back, or throws
/// an <see cref="InfluenceException"/> that names the property, the range and what was found.
/// </summary>
internal static class Check
{
    /// <summary>1 or more.</summary>
    public static T AtLeastOne<T>(T value, [CallerMemberName] string name = "")
        where T : struct, INumber<T> => AtLeast(value, T.One, name);

    /// <summary>1 or more, or null.</summary>
    public static T? AtLeastOne<T>(T? value, [CallerMemberName] string name = "")
        where T : struct, INumber<T> => value is { } given ? AtLeast(given, T.One, name) : null;

    /// <summary>So many or more.</summary>
    public static T AtLeast<T>(T value, T least, [CallerMemberName] string name = "")
        where T : struct, INumber<T> => value >= least ? value : throw Wrong(name, $"at least {Text(least)}", value);

    /// <summary>More than so many.</summary>
    public static double Above(double value, double least, [CallerMemberName] string name = "") =>
        value > least ? value : throw Wrong(name, $"above {Text(least)}", value);

    /// <summary>From one number to another, both included.</summary>
    public static T Between<T>(T value, T least, T most, [CallerMemberName] string name = "")
        where T : struct, INumber<T> =>
        value >= least && value <= most ? value : throw Wrong(name, $"from {Text(least)} to {Text(most)}", value);

    /// <summary>Finite and 0 or more.</summary>
    public static double NotNegative(double value, [CallerMemberName] string name = "") =>
        value >= 0 && double.IsFinite(value) ? value : throw Wrong(name, "at least 0 and finite", value);

    /// <summary>Finite and above 0.</summary>
    public static double Positive(double value, [CallerMemberName] string name = "") =>
        value > 0 && double.IsFinite(value) ? value : throw Wrong(name, "above 0 and finite", value);

    /// <summary>Finite and above 0, or null.</summary>
    public static double? Positive(double? value, [CallerMemberName] string name = "") => value is { } given ? Positive(given, name) : null;

    /// <summary>From 0 to 1, both included.</summary>
    public static double Share(double value, [CallerMemberName] string name = "") => Between(value, 0.0, 1.0, name);

    /// <summary>Above 0 and at most 1.</summary>
    public static double PositiveShare(double value, [CallerMemberName] string name = "") =>
        value is > 0 and <= 1 ? value : throw Wrong(name, "above 0 and at most 1", value);

    /// <summary>At least 0 and below 1.</summary>
    public static double ShareBelowOne(double value, [CallerMemberName] string name = "") =>
        value is >= 0 and < 1 ? value : throw Wrong(name, "at least 0 and below 1", value);

    /// <summary>Between 0 and 1, neither included.</summary>
    public static double InsideUnit(double value, [CallerMemberName] string name = "") =>
        value is > 0 and < 1 ? value : throw Wrong(name, "between 0 and 1", value);

    /// <summary>A value of an enum, and no number that is cast to it and names none.</summary>
    public static T Defined<T>(T value, [CallerMemberName] string name = "")
        where T : struct, Enum =>
        Enum.IsDefined(value) ? value : throw Wrong(name, $"one of {string.Join(", ", Enum.GetNames<T>())}", value);

    /// <summary>A value of an enum, or null.</summary>
    public static T? Defined<T>(T? value, [CallerMemberName] string name = "")
        where T : struct, Enum => value is { } given ? Defined(given, name) : null;

    /// <summary>At least 0 and below 1, or null.</summary>
    public static double? ShareBelowOne(double? value, [CallerMemberName] string name = "") =>
        value is { } given ? ShareBelowOne(given, name) : null;

    /// <summary>Finite and 0 or more, or null.</summary>
    public static double? NotNegative(double? value, [CallerMemberName] string name = "") =>
        value is { } given ? NotNegative(given, name) : null;

    /// <summary>Any finite number.</summary>
    public static double Finite(double value, [CallerMemberName] string name = "") =>
        double.IsFinite(value) ? value : throw Wrong(name, "a finite number", value);

    /// <summary>A list that is its owner's own copy, when it holds what it must.</summary>
    /// <param name="value">What was given.</param>
    /// <param name="holds">Whether the list will do.</param>
    /// <param name="expected">What is expected, with the line to write: "above 0, none twice: Counts = [20, 40, 80]".</param>
    /// <param name="name">The property.</param>
    public static IReadOnlyList<T> List<T>(
        IReadOnlyList<T>? value,
        Func<IReadOnlyList<T>, bool> holds,
        string expected,
        [CallerMemberName] string name = ""
    ) =>
        value is not null && holds(value)
            ? [.. value]
            : throw new InfluenceException($"{name} {expected}; found {(value is null ? "null" : $"[{string.Join(", ", value)}]")}.");

    private static InfluenceException Wrong<T>(string name, string range, T value) => new($"{name} is {range}, not {Text(value)}.");

    private static string Text<T>(T value) => string.Create(CultureInfo.InvariantCulture, $"{value}");
}
