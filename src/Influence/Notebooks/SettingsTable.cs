using System.Collections;
using System.Reflection;
using Influence.Display;

namespace Influence.Notebooks;

/// <summary>An object's public properties, one level deep, each as one line.</summary>
internal static class SettingsTable
{
    private const int ShownItems = 5;

    public static Table Of(object shown)
    {
        var type = shown.GetType();
        var properties = type.GetProperties(BindingFlags.Public | BindingFlags.Instance)
            .Where(p => p.CanRead && p.GetIndexParameters().Length == 0 && p.Name != "EqualityContract")
            .ToList();
        return new Table(
            type.DeclaringType is { } outer ? $"{outer.Name}.{type.Name}" : type.Name,
            ["setting", "value"],
            [.. properties.Select(IReadOnlyList<object> (p) => [p.Name, Value(p, shown)])]
        );
    }

    private static string Value(PropertyInfo property, object shown)
    {
        try
        {
            return Line(property.GetValue(shown));
        }
        catch (TargetInvocationException e)
        {
            return $"({e.InnerException!.Message})";
        }
    }

    private static string Line(object? value) =>
        value switch
        {
            null => "none",
            string text => text,
            Delegate => "given",
            IDisplay table => FirstLine(table.ToString()),
            IDictionary pairs => $"{pairs.Count:N0} entries",
            ICollection items => Items(items, items.Count),
            _ => FirstLine(value.ToString()),
        };

    private static string Items(IEnumerable items, int count)
    {
        var shown = string.Join(", ", items.Cast<object?>().Take(ShownItems).Select(item => FirstLine(item?.ToString())));
        return count > ShownItems ? $"{shown}, ... ({count:N0})"
            : shown.Length > 0 ? shown
            : "none";
    }

    private static string FirstLine(string? text) => (text ?? string.Empty).ReplaceLineEndings("\n").Split('\n')[0];
}
