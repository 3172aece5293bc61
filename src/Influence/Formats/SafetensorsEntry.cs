using System.Text.Json;

namespace Influence.Formats;

/// <summary>One tensor in a file's header.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">The format's name of its type.</param>
/// <param name="Shape">Its shape.</param>
/// <param name="Begin">Its first byte, counted from the end of the header.</param>
/// <param name="End">The byte after its last.</param>
internal sealed record SafetensorsEntry(string Name, string Type, long[] Shape, long Begin, long End)
{
    private const int MostDimensions = 64;

    /// <exception cref="FormatException">It is no entry of a tensor, or its shape and type do not fit its bytes.</exception>
    public static SafetensorsEntry Parse(JsonProperty property)
    {
        var (shape, offsets) = (property.Value.GetProperty("shape"), property.Value.GetProperty("data_offsets"));
        if (shape.GetArrayLength() > MostDimensions || offsets.GetArrayLength() != 2)
        {
            throw new FormatException(
                $"the entry of \"{PlainText.Name(property.Name)}\" has more than {MostDimensions} dimensions, or "
                    + "other than two offsets"
            );
        }

        var entry = new SafetensorsEntry(
            property.Name,
            property.Value.GetProperty("dtype").GetString() ?? string.Empty,
            [.. shape.EnumerateArray().Select(d => d.GetInt64())],
            offsets[0].GetInt64(),
            offsets[1].GetInt64()
        );
        return entry.Fits()
            ? entry
            : throw new FormatException($"the entry of \"{PlainText.Name(entry.Name)}\" ({entry.Describe()}) does not fit its bytes");
    }

    /// <summary>Type and shape, for messages.</summary>
    public string Describe() => $"{PlainText.Name(Type)} [{string.Join(", ", Shape)}]";

    private bool Fits()
    {
        if (Begin < 0 || End < Begin || Shape.Any(d => d < 0))
        {
            return false;
        }

        // Also where a dimension is zero, the others must stay within what can be counted.
        var numbers = Shape.Aggregate((Int128)1, (a, b) => a > long.MaxValue ? a : a * Math.Max(1, b));
        if (numbers > long.MaxValue)
        {
            return false;
        }

        return SafetensorsType.Size(Type) is not { } size || (Shape.Contains(0) ? 0 : numbers * size) == End - Begin;
    }
}
