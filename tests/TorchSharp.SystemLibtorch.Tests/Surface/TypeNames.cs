using System.Reflection;

namespace TorchSharp.SystemLibtorch.Tests.Surface;

/// <summary>Writes types as the API file does: C# keywords, full names, type arguments where they belong.</summary>
internal static class TypeNames
{
    private static readonly Dictionary<Type, string> Keywords = new()
    {
        [typeof(void)] = "void",
        [typeof(object)] = "object",
        [typeof(string)] = "string",
        [typeof(bool)] = "bool",
        [typeof(char)] = "char",
        [typeof(sbyte)] = "sbyte",
        [typeof(byte)] = "byte",
        [typeof(short)] = "short",
        [typeof(ushort)] = "ushort",
        [typeof(int)] = "int",
        [typeof(uint)] = "uint",
        [typeof(long)] = "long",
        [typeof(ulong)] = "ulong",
        [typeof(float)] = "float",
        [typeof(double)] = "double",
        [typeof(decimal)] = "decimal",
    };

    public static string Of(Type type)
    {
        if (type.IsByRef)
        {
            return Of(type.GetElementType()!);
        }

        if (type.IsArray)
        {
            return $"{Of(type.GetElementType()!)}[{new string(',', type.GetArrayRank() - 1)}]";
        }

        if (type.IsPointer)
        {
            return Of(type.GetElementType()!) + "*";
        }

        if (type.IsGenericParameter)
        {
            return type.Name;
        }

        if (Keywords.TryGetValue(type, out var keyword))
        {
            return keyword;
        }

        if (Nullable.GetUnderlyingType(type) is { } underlying)
        {
            return Of(underlying) + "?";
        }

        var arguments = type.GetGenericArguments();
        if (type.FullName?.StartsWith("System.ValueTuple`", StringComparison.Ordinal) == true
            || (type.Namespace == "System" && type.Name.StartsWith("ValueTuple`", StringComparison.Ordinal)))
        {
            return $"({string.Join(", ", arguments.Select(Of))})";
        }

        return Named(type, arguments);
    }

    // A nested type repeats the arguments of the types around it: each level takes its own share.
    private static string Named(Type type, Type[] arguments)
    {
        var levels = new Stack<Type>();
        for (var level = type; level is not null; level = level.DeclaringType)
        {
            levels.Push(level);
        }

        var parts = new List<string>();
        var used = 0;
        foreach (var level in levels)
        {
            var tick = level.Name.IndexOf('`');
            var count = level.IsGenericType ? level.GetGenericArguments().Length - used : 0;
            var name = tick < 0 ? level.Name : level.Name[..tick];
            parts.Add(count == 0
                ? name
                : $"{name}<{string.Join(", ", arguments.Skip(used).Take(count).Select(Of))}>");
            used += count;
        }

        return $"{type.Namespace}.{string.Join('.', parts)}";
    }
}
