namespace Influence;

/// <summary>Refuses numbers that are cast to an enum and name none of its values.</summary>
internal static class EnumCheck
{
    /// <summary>The value, where it is one.</summary>
    /// <param name="value">What a setting is given.</param>
    /// <param name="name">The setting's name.</param>
    public static T Defined<T>(T value, string name)
        where T : struct, Enum => Enum.IsDefined(value)
        ? value
        : throw new InfluenceException($"{name} is one of {InfluenceException.List(Enum.GetNames<T>())}; found {value}.");
}
