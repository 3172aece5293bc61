using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using Influence.Formats;
using static TorchSharp.torch;

namespace Influence.Interchange;

/// <summary>
/// A table of records: of each training example, for each query q, the number <c>score_q</c> and the byte <c>written_q</c>, at the offsets
/// that <c>info.json</c> lists, as NumPy describes a structured type.
/// </summary>
internal static class BergsonFile
{
    private const int LargestRecord = 1 << 26;

    /// <summary>The scores, <c>[queries, train]</c>, float32 or float64; the caller owns them.</summary>
    public static Tensor Read(string folder)
    {
        var (infoPath, path) = (Path.Combine(folder, "info.json"), Path.Combine(folder, "scores.bin"));
        try
        {
            var layout = Layout.Parse(File.ReadAllText(infoPath), infoPath);
            using var stream = SharedFile.OpenRead(path, bufferSize: 1 << 20);
            if ((Int128)layout.Items * layout.Record != stream.Length)
            {
                throw new InfluenceException(
                    $"{path} has {stream.Length:N0} bytes; info.json speaks of {layout.Items:N0} records of {layout.Record:N0} bytes. One "
                        + "of the two is of another run, or cut off."
                );
            }

            return Records(stream, layout, path);
        }
        catch (Exception exception)
            when (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException or JsonException)
        {
            throw new InfluenceException($"Cannot read the scores of bergson in {folder}: {exception.Message}", exception);
        }
    }

    private static Tensor Records(FileStream stream, Layout layout, string path)
    {
        using var scope = NewDisposeScope();
        var values = Array.ConvertAll(layout.Scores, _ => new double[layout.Items]);
        var record = new byte[layout.Record];
        long missing = 0;
        for (var item = 0; item < layout.Items; item++)
        {
            stream.ReadExactly(record);
            for (var q = 0; q < layout.Scores.Length; q++)
            {
                missing += layout.Written[q] >= 0 && record[layout.Written[q]] == 0 ? 1 : 0;
                values[q][item] = layout.Number(record.AsSpan(layout.Scores[q]));
            }
        }

        if (missing > 0)
        {
            throw new InfluenceException(
                $"{path}: {missing:N0} of {(Int128)layout.Items * layout.Scores.Length:N0} scores were never "
                    + "written. The run did not end; let it go on."
            );
        }

        var rows = values.Select(row => layout.Type == "float64" ? tensor(row) : tensor(Array.ConvertAll(row, v => (float)v))).ToList();
        return stack(rows).MoveToOuterDisposeScope();
    }

    /// <summary>Where the numbers of a record lie.</summary>
    /// <param name="Items">Records.</param>
    /// <param name="Record">Bytes of one.</param>
    /// <param name="Type">The numbers' type.</param>
    /// <param name="Scores">Each query's offset.</param>
    /// <param name="Written">Where it says whether the score was written; -1 for nowhere.</param>
    private sealed record Layout(int Items, int Record, string Type, int[] Scores, int[] Written)
    {
        public double Number(ReadOnlySpan<byte> bytes) =>
            Type switch
            {
                "float64" => BinaryPrimitives.ReadDoubleLittleEndian(bytes),
                "float32" => BinaryPrimitives.ReadSingleLittleEndian(bytes),
                "float16" => (double)BinaryPrimitives.ReadHalfLittleEndian(bytes),
                _ => BitConverter.Int32BitsToSingle(BinaryPrimitives.ReadUInt16LittleEndian(bytes) << 16),
            };

        public static Layout Parse(string text, string path)
        {
            using var json = JsonDocument.Parse(text);
            var root = json.RootElement;
            if (root.ValueKind == JsonValueKind.Object && root.TryGetProperty("attribute_tokens", out _))
            {
                throw new InfluenceException(
                    $"{path} is of scores of single tokens; scores of whole examples are read. Run bergson without attribute_tokens."
                );
            }

            if (!TryRead(root, out var layout))
            {
                throw new InfluenceException(
                    $"{path} is not laid out as expected: num_items, num_scores and a dtype with names (score_0, written_0, ...), formats "
                        + "(float16, bfloat16, float32 or float64), offsets and itemsize."
                );
            }

            return layout!;
        }

        private static bool TryRead(JsonElement root, out Layout? layout)
        {
            layout = null;
            if (
                root.ValueKind != JsonValueKind.Object
                || Whole(root, "num_items") is not (>= 0 and <= int.MaxValue - 64 and var items)
                || Whole(root, "num_scores") is not (> 0 and <= LargestRecord and var scores)
                || !root.TryGetProperty("dtype", out var dtype)
                || dtype.ValueKind != JsonValueKind.Object
                || Whole(dtype, "itemsize") is not (> 0 and <= LargestRecord and var record)
                || Texts(dtype, "names") is not { } names
                || Texts(dtype, "formats") is not { } formats
                || Offsets(dtype) is not { } offsets
                || names.Length != formats.Length
                || names.Length != offsets.Length
                || names.Distinct().Count() != names.Length
            )
            {
                return false;
            }

            var places = names.Select((name, i) => (name, i)).ToDictionary(pair => pair.name, pair => pair.i);
            int[] at =
            [
                .. Enumerable
                    .Range(0, (int)scores)
                    .Select(q => places.GetValueOrDefault(string.Create(CultureInfo.InvariantCulture, $"score_{q}"), -1)),
            ];
            int[] written =
            [
                .. Enumerable
                    .Range(0, (int)scores)
                    .Select(q => places.GetValueOrDefault(string.Create(CultureInfo.InvariantCulture, $"written_{q}"), -1)),
            ];
            if (
                at.Any(i => i < 0)
                || at.Select(i => formats[i]).Distinct().Count() != 1
                || Size(formats[at[0]]) is not { } size
                || at.Any(i => offsets[i] < 0 || offsets[i] + size > record)
                || written.Any(i => i >= 0 && (offsets[i] < 0 || offsets[i] >= record))
            )
            {
                return false;
            }

            layout = new Layout(
                (int)items,
                (int)record,
                formats[at[0]],
                [.. at.Select(i => (int)offsets[i])],
                [.. written.Select(i => i < 0 ? -1 : (int)offsets[i])]
            );
            return true;
        }

        private static int? Size(string format) =>
            format switch
            {
                "float64" => 8,
                "float32" => 4,
                "float16" or "bfloat16" => 2,
                _ => null,
            };

        private static long? Whole(JsonElement element, string name) =>
            element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number)
                ? number
                : null;

        private static string[]? Texts(JsonElement element, string name) =>
            element.TryGetProperty(name, out var list)
            && list.ValueKind == JsonValueKind.Array
            && list.EnumerateArray().All(e => e.ValueKind == JsonValueKind.String)
                ? [.. list.EnumerateArray().Select(e => e.GetString()!)]
                : null;

        private static long[]? Offsets(JsonElement element) =>
            element.TryGetProperty("offsets", out var list)
            && list.ValueKind == JsonValueKind.Array
            && list.EnumerateArray().All(e => e.ValueKind == JsonValueKind.Number && e.TryGetInt64(out _))
                ? [.. list.EnumerateArray().Select(e => e.GetInt64())]
                : null;
    }
}
