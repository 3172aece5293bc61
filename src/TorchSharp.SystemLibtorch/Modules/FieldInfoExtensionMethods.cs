using System.Reflection;
using TorchSharp.Utils;

namespace TorchSharp;

public static class FieldInfoExtensionMethods
{
    /// <summary>The name under which a module registers this field: the attribute's, else the field's own.</summary>
    public static string ComponentName(this FieldInfo field) => ComponentNameAttribute.Of(field);
}
