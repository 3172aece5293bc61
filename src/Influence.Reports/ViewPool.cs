using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;

namespace Influence.Reports;

/// <summary>The examples that a page shows, each once, in the order in which they may claim the page's bytes.</summary>
internal sealed class ViewPool
{
    private static readonly JsonWriterOptions s_options = new()
    {
        Encoder = JavaScriptEncoder.Create(UnicodeRanges.All),
        SkipValidation = true,
    };

    private readonly List<Entry> _entries = [];
    private readonly Dictionary<(Delegate? Show, bool Query, long Id), int> _places = [];

    public int Count => _entries.Count;

    /// <summary>The place of an example.</summary>
    /// <param name="id">Its id.</param>
    /// <param name="show">What shows it; null for the bare id.</param>
    /// <param name="query">Whether it is a query.</param>
    /// <param name="priority">The lower, the sooner it gets room.</param>
    public int Add(long id, Func<long, ExampleView>? show, bool query, int priority)
    {
        if (_places.TryGetValue((show, query, id), out var place))
        {
            _entries[place] = _entries[place] with { Priority = Math.Min(_entries[place].Priority, priority) };
            return place;
        }

        place = Add(id, show is null ? new ExampleView() : show(id) ?? throw NoView(id), query, priority);
        _places[(show, query, id)] = place;
        return place;
    }

    public int Add(long id, ExampleView view, bool query, int priority)
    {
        _entries.Add(new Entry(id, query, priority, view));
        return _entries.Count - 1;
    }

    /// <summary>
    /// The examples in two parts: what the page sorts and filters by, in one JSON object of lists, and the rest of each example, a line of
    /// JSON each, which the page reads when it shows the example. As much of them as the budget holds; without it each keeps its id, label
    /// and mark.
    /// </summary>
    /// <param name="budget">Bytes.</param>
    /// <returns>The object, the lines, and how many examples had to be cut.</returns>
    public (string Heads, IReadOnlyList<string> Lines, int Cut) ToJson(long budget)
    {
        var (whole, bare) = (
            _entries.Select(entry => Bytes(writer => WriteContent(writer, entry.View))).ToArray(),
            Bytes(writer => WriteCut(writer))
        );
        var cut = new bool[whole.Length];
        var left = budget - Encoding.UTF8.GetByteCount(Heads(cut)) - (whole.Length * (bare.Length + 1L));
        foreach (var i in Enumerable.Range(0, whole.Length).OrderBy(i => _entries[i].Priority).ThenBy(i => i))
        {
            var more = whole[i].Length - bare.Length;
            cut[i] = HasContent(_entries[i].View) && more > left;
            left -= cut[i] ? 0 : more;
        }

        return (Heads(cut), [.. whole.Select((line, i) => Encoding.UTF8.GetString(cut[i] ? bare : line))], cut.Count(c => c));
    }

    private string Heads(bool[] cut) =>
        Json(writer =>
        {
            writer.WriteStartObject();
            List("i", entry => entry.Id.ToString(CultureInfo.InvariantCulture));
            List("l", entry => Cell.Clean(entry.View.Label));
            List("m", entry => Cell.Clean(entry.View.Mark));
            writer.WriteStartArray("q");
            foreach (var (i, _) in _entries.Index().Where(entry => entry.Item.Query))
            {
                writer.WriteNumberValue(i);
            }

            writer.WriteEndArray();
            writer.WriteString(
                "c",
                string.Concat(
                    _entries.Select(
                        (entry, i) =>
                            cut[i] || !HasContent(entry.View) ? '0'
                            : entry.View.Image is null ? '2'
                            : '1'
                    )
                )
            );
            writer.WriteEndObject();

            void List(string name, Func<Entry, string> get)
            {
                writer.WriteStartArray(name);
                foreach (var entry in _entries)
                {
                    writer.WriteStringValue(get(entry));
                }

                writer.WriteEndArray();
            }
        });

    private static bool HasContent(ExampleView view) =>
        view.Text.Length > 0 || view.Image is not null || view.Fields.Count > 0 || view.Strips.Count > 0;

    /// <summary>A writer whose texts can stand within a script element, and what it wrote.</summary>
    public static string Json(Action<Utf8JsonWriter> write) => Encoding.UTF8.GetString(Bytes(write));

    /// <summary>A number; what is not finite as a browser reads it: null for no number.</summary>
    public static void Number(Utf8JsonWriter writer, double value) =>
        writer.WriteRawValue(
            double.IsNaN(value) ? "null"
                : double.IsFinite(value) ? value.ToString("G7", CultureInfo.InvariantCulture)
                : value > 0 ? "1e999"
                : "-1e999",
            skipInputValidation: true
        );

    private static byte[] Bytes(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var writer = new Utf8JsonWriter(buffer, s_options))
        {
            write(writer);
        }

        return buffer.WrittenSpan.ToArray();
    }

    private static void WriteCut(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WriteNumber("d", 1);
        writer.WriteEndObject();
    }

    private static void WriteContent(Utf8JsonWriter writer, ExampleView view)
    {
        writer.WriteStartObject();
        if (view.Text.Length > 0)
        {
            writer.WriteString("x", Cell.Clean(view.Text));
        }

        Content(writer, view);
        writer.WriteEndObject();
    }

    private static void Content(Utf8JsonWriter writer, ExampleView view)
    {
        if (view.Image is { } picture)
        {
            writer.WriteStartArray("p");
            writer.WriteRawValue($"\"{picture.Base64}\"", skipInputValidation: true);
            writer.WriteNumberValue(picture.Width);
            writer.WriteNumberValue(picture.Height);
            writer.WriteEndArray();
        }

        if (view.Fields.Count > 0)
        {
            writer.WriteStartArray("f");
            foreach (var (name, value) in view.Fields)
            {
                writer.WriteStartArray();
                writer.WriteStringValue(Cell.Clean(name));
                writer.WriteStringValue(Cell.Clean(value));
                writer.WriteEndArray();
            }

            writer.WriteEndArray();
        }

        if (view.Strips.Count == 0)
        {
            return;
        }

        writer.WriteStartArray("s");
        foreach (var strip in view.Strips)
        {
            writer.WriteStartArray();
            writer.WriteStringValue(Cell.Clean(strip.Name));
            writer.WriteStartArray();
            foreach (var token in strip.Tokens)
            {
                writer.WriteStringValue(Cell.Clean(token));
            }

            writer.WriteEndArray();
            writer.WriteStartArray();
            foreach (var score in strip.Scores)
            {
                writer.WriteRawValue(
                    double.IsFinite(score) ? score.ToString("G4", CultureInfo.InvariantCulture) : "null",
                    skipInputValidation: true
                );
            }

            writer.WriteEndArray();
            writer.WriteEndArray();
        }

        writer.WriteEndArray();
    }

    private static InfluenceException NoView(long id) =>
        new($"The report was given no view for the example {id}: the function that shows examples returned null.");

    private sealed record Entry(long Id, bool Query, int Priority, ExampleView View);
}
