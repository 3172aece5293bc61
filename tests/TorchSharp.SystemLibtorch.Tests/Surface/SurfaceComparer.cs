using System.Text.RegularExpressions;

namespace TorchSharp.SystemLibtorch.Tests.Surface;

/// <summary>
/// Finds what is in one surface and not in another. Type lines may name fewer bases and interfaces. Nullability of
/// reference types, names of tuple elements and obsolete notes are not compared: they bind no caller.
/// </summary>
internal sealed partial class SurfaceComparer
{
    private static readonly string[] PlainValues =
    [
        "bool", "char", "sbyte", "byte", "short", "ushort", "int", "uint", "long", "ulong", "float", "double",
        "System.IntPtr", "System.Half", "System.Range", "System.Index",
    ];

    private readonly HashSet<string> _valueTypes;
    private readonly HashSet<string> _members;
    private readonly Dictionary<string, TypeLine> _types = [];

    public SurfaceComparer(IReadOnlyCollection<string> reference)
    {
        _valueTypes = [.. PlainValues];
        foreach (var line in reference)
        {
            if (ValueType().Match(line) is { Success: true } match)
            {
                _valueTypes.Add(match.Groups["name"].Value);
            }
        }

        _members = [.. reference.Select(Normalise)];
        foreach (var line in _members)
        {
            if (TypeLine.Parse(line) is { } type)
            {
                _types[type.Name] = type;
            }
        }
    }

    /// <summary>The lines that the reference does not have.</summary>
    public IEnumerable<string> Missing(IEnumerable<string> surface) => surface.Where(line =>
    {
        var normal = Normalise(line);
        return TypeLine.Parse(normal) is { } ours
            ? !_types.TryGetValue(ours.Name, out var theirs) || !ours.IsPartOf(theirs)
            : !_members.Contains(normal);
    });

    private string Normalise(string line)
    {
        line = Note().Replace(line, "");
        line = TupleNames().Replace(line, "");
        return Question().Replace(line, match =>
            match.Groups["type"].Value is var type && (type == ")" || _valueTypes.Contains(type)) ? type + "?" : type);
    }

    [GeneratedRegex(@"^(?<name>\S+) :: \w+ (struct|enum)\b")]
    private static partial Regex ValueType();

    [GeneratedRegex(@" \[Obsolete.*\]$")]
    private static partial Regex Note();

    [GeneratedRegex(@" /\*.*?\*/")]
    private static partial Regex TupleNames();

    [GeneratedRegex(@"(?<type>[\w.]+|[)\]>])\?")]
    private static partial Regex Question();

    private sealed record TypeLine(string Name, string Kind, string[] Bases, string Constraints)
    {
        public static TypeLine? Parse(string line)
        {
            var match = Shape().Match(line);
            return match.Success
                ? new TypeLine(
                    match.Groups["name"].Value, match.Groups["kind"].Value,
                    SplitBases(match.Groups["bases"].Value), match.Groups["where"].Value)
                : null;
        }

        public bool IsPartOf(TypeLine whole) =>
            Kind == whole.Kind && Constraints == whole.Constraints && Bases.All(whole.Bases.Contains);

        // Commas inside type arguments do not separate bases.
        private static string[] SplitBases(string list)
        {
            var bases = new List<string>();
            var depth = 0;
            var start = 0;
            for (var i = 0; i <= list.Length; i++)
            {
                if (i == list.Length || (list[i] == ',' && depth == 0))
                {
                    bases.Add(list[start..i].Trim());
                    start = i + 1;
                }
                else
                {
                    depth += list[i] is '<' or '(' ? 1 : list[i] is '>' or ')' ? -1 : 0;
                }
            }

            return [.. bases.Where(b => b.Length > 0)];
        }
    }

    [GeneratedRegex(@"^(?<name>.+?) :: (?<kind>(public|protected|internal|static|abstract|sealed| )+?(class|struct|interface|enum))( : (?<bases>.*?))?(?<where>( where .*)?)$")]
    private static partial Regex Shape();
}
