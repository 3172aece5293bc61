using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;

namespace TorchSharp.SystemLibtorch.Tests.Surface;

/// <summary>Writes what an assembly offers to users, one member a line, in the format of the API file.</summary>
internal static class SurfaceRenderer
{
    private const BindingFlags Declared = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance
        | BindingFlags.Static | BindingFlags.DeclaredOnly;

    public static IEnumerable<string> Render(Assembly assembly) =>
        assembly.GetTypes().Where(type => Visible(type) && IsTorchSharp(type)).SelectMany(Render);

    public static IEnumerable<string> Render(Type type)
    {
        var name = TypeNames.Of(type);
        yield return $"{name} :: {TypeLine(type)}";
        if (typeof(Delegate).IsAssignableFrom(type))
        {
            yield break;
        }

        if (type.IsEnum)
        {
            foreach (var field in type.GetFields(BindingFlags.Public | BindingFlags.Static))
            {
                yield return $"{name}.{field.Name} :: enum member = {Number(field.GetRawConstantValue()!)}";
            }

            yield break;
        }

        foreach (var member in type.GetMembers(Declared))
        {
            if (member is not Type && !member.IsDefined(typeof(CompilerGeneratedAttribute)) && Line(member) is { } line)
            {
                yield return $"{name}.{line}";
            }
        }
    }

    // TorchSharp's own assembly carries generated types of other namespaces too, which the file leaves out.
    private static bool IsTorchSharp(Type type) =>
        type.Namespace is { } space && (space == "TorchSharp" || space.StartsWith("TorchSharp.", StringComparison.Ordinal));

    private static bool Visible(Type type) =>
        (type.IsPublic || type.IsNestedPublic || type.IsNestedFamily || type.IsNestedFamORAssem)
        && (type.DeclaringType is null || Visible(type.DeclaringType));

    private static string TypeLine(Type type)
    {
        var access = type.IsNestedFamily ? "protected" : type.IsNestedFamORAssem ? "protected internal" : "public";
        if (type.IsEnum)
        {
            return $"{access} enum : {TypeNames.Of(Enum.GetUnderlyingType(type))}";
        }

        if (typeof(Delegate).IsAssignableFrom(type))
        {
            var invoke = type.GetMethod("Invoke")!;
            return $"{access} delegate {TypeNames.Of(invoke.ReturnType)} ({Parameters(invoke)})";
        }

        var kind = type switch
        {
            { IsInterface: true } => "interface",
            { IsValueType: true } => "struct",
            { IsAbstract: true, IsSealed: true } => "static class",
            { IsAbstract: true } => "abstract class",
            { IsSealed: true } => "sealed class",
            _ => "class",
        };
        var bases = type.GetInterfaces().Select(TypeNames.Of).Order(StringComparer.Ordinal).ToList();
        if (type.BaseType is { } parent && parent != typeof(object) && parent != typeof(ValueType))
        {
            bases.Insert(0, TypeNames.Of(parent));
        }

        return $"{access} {kind}{(bases.Count > 0 ? " : " + string.Join(", ", bases) : "")}"
            + Constraints(type.IsGenericTypeDefinition ? OwnArguments(type) : []);
    }

    private static Type[] OwnArguments(Type type) =>
        type.GetGenericArguments()[(type.DeclaringType?.GetGenericArguments().Length ?? 0)..];

    private static string? Line(MemberInfo member) => member switch
    {
        ConstructorInfo { IsStatic: false } constructor when Access(constructor) is { } access =>
            $".ctor({Parameters(constructor)}) :: {access} constructor",
        MethodInfo method when IsOrdinary(method) && Access(method) is { } access =>
            $"{method.Name}{GenericList(method)}({Parameters(method)}) :: {access}{Modifiers(method)} "
            + TypeNames.Of(method.ReturnType)
            + Constraints(method.IsGenericMethodDefinition ? method.GetGenericArguments() : []),
        PropertyInfo property => PropertyLine(property),
        FieldInfo field when FieldAccess(field) is { } access => FieldLine(field, access),
        _ => null,
    };

    private static bool IsOrdinary(MethodInfo method) =>
        !method.IsSpecialName || method.Name.StartsWith("op_", StringComparison.Ordinal);

    private static string GenericList(MethodInfo method) => method.IsGenericMethodDefinition
        ? $"<{string.Join(", ", method.GetGenericArguments().Select(a => a.Name))}>"
        : "";

    private static string? PropertyLine(PropertyInfo property)
    {
        var accessors = new[] { (property.GetMethod, "get"), (property.SetMethod, "set") }
            .Where(a => a.Item1 is not null && Access(a.Item1) is not null)
            .Select(a => (Method: a.Item1!, Name: a.Item2, Access: Access(a.Item1!)!)).ToList();
        if (accessors.Count == 0)
        {
            return null;
        }

        var widest = accessors.MinBy(a => a.Access.Length);
        var list = accessors.Select(a => (a.Access == widest.Access ? "" : a.Access + " ") + a.Name + ";");
        var index = property.GetIndexParameters();
        var name = property.Name + (index.Length == 0 ? "" : $"[{string.Join(", ", index.Select(Parameter))}]");
        return $"{name} :: {widest.Access}{Modifiers(widest.Method)} property {TypeNames.Of(property.PropertyType)} "
            + $"{{ {string.Join(" ", list)} }}";
    }

    private static string FieldLine(FieldInfo field, string access)
    {
        var kind = field.IsLiteral ? " const" : (field.IsStatic ? " static" : "") + (field.IsInitOnly ? " readonly" : "");
        var value = field.IsLiteral ? " = " + Value(field.GetRawConstantValue(), field.FieldType) : "";
        return $"{field.Name} :: {access}{kind} field {TypeNames.Of(field.FieldType)}{value}";
    }

    private static string? FieldAccess(FieldInfo field) => field switch
    {
        { IsPublic: true } => "public",
        { IsFamily: true } => "protected",
        { IsFamilyOrAssembly: true } => "protected internal",
        _ => null,
    };

    private static string? Access(MethodBase method) => method switch
    {
        { IsPublic: true } => "public",
        { IsFamily: true } => "protected",
        { IsFamilyOrAssembly: true } => "protected internal",
        _ => null,
    };

    private static string Modifiers(MethodInfo method)
    {
        if (method.DeclaringType!.IsInterface)
        {
            return "";
        }

        return method switch
        {
            { IsStatic: true } => " static",
            { IsAbstract: true } => " abstract",
            { IsVirtual: true } when method.GetBaseDefinition() != method => " override",
            { IsVirtual: true, IsFinal: false } => " virtual",
            _ => "",
        };
    }

    private static string Parameters(MethodBase method)
    {
        var list = string.Join(", ", method.GetParameters().Select(Parameter));
        return method.IsDefined(typeof(ExtensionAttribute)) ? "this " + list : list;
    }

    private static string Parameter(ParameterInfo parameter)
    {
        var prefix = parameter.IsDefined(typeof(ParamArrayAttribute)) ? "params "
            : parameter.IsOut ? "out "
            : parameter.ParameterType.IsByRef ? "ref " : "";
        var text = $"{prefix}{TypeNames.Of(parameter.ParameterType)} {parameter.Name}";
        return parameter.HasDefaultValue
            ? $"{text} = {Value(parameter.RawDefaultValue, parameter.ParameterType)}"
            : text;
    }

    private static string Value(object? value, Type type)
    {
        var plain = Nullable.GetUnderlyingType(type) ?? type;
        return value switch
        {
            null => type.IsGenericParameter || (type.IsValueType && plain == type) ? "default" : "null",
            _ when plain.IsEnum => $"{plain.Name}.{Enum.GetName(plain, value)}",
            bool flag => flag ? "true" : "false",
            string text => $"\"{text}\"",
            char letter => $"'{letter}'",
            float number => Number(number) + "f",
            _ => Number(value),
        };
    }

    private static string Number(object value) => ((IFormattable)value).ToString(null, CultureInfo.InvariantCulture);

    private static string Constraints(Type[] arguments) => string.Concat(arguments.Select(argument =>
    {
        var attributes = argument.GenericParameterAttributes;
        var list = new List<string>();
        if (argument.CustomAttributes.Any(a => a.AttributeType.Name == "IsUnmanagedAttribute"))
        {
            list.Add("unmanaged");
        }
        else if (attributes.HasFlag(GenericParameterAttributes.NotNullableValueTypeConstraint))
        {
            list.Add("struct");
        }
        else if (attributes.HasFlag(GenericParameterAttributes.ReferenceTypeConstraint))
        {
            list.Add("class");
        }

        list.AddRange(argument.GetGenericParameterConstraints().Where(t => t != typeof(ValueType)).Select(TypeNames.Of));
        if (attributes.HasFlag(GenericParameterAttributes.DefaultConstructorConstraint)
            && !attributes.HasFlag(GenericParameterAttributes.NotNullableValueTypeConstraint))
        {
            list.Add("new()");
        }

        return list.Count == 0 ? "" : $" where {argument.Name} : {string.Join(", ", list)}";
    }));
}
