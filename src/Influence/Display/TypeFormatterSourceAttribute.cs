namespace Influence.Display;

/// <summary>
/// .NET Interactive looks for an attribute of this name, whoever declares it, and asks the type that it names for
/// formatters. So a notebook shows our results as tables and we reference none of its packages.
/// </summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Struct)]
internal sealed class TypeFormatterSourceAttribute(Type formatterSourceType) : Attribute
{
    public Type FormatterSourceType { get; } = formatterSourceType;
}
