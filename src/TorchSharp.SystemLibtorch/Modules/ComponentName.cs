using System.Reflection;

namespace TorchSharp.Utils;

/// <summary>
/// Registers a field under another name than its own, such as <c>weight</c> for a field <c>_weight</c>.
/// </summary>
[AttributeUsage(AttributeTargets.All)]
public class ComponentNameAttribute : Attribute
{
    public string Name { get; set; } = "";

    /// <summary>The name a field is registered under in its module.</summary>
    internal static string Of(FieldInfo field)
        => field.GetCustomAttribute<ComponentNameAttribute>()?.Name ?? field.Name;
}
