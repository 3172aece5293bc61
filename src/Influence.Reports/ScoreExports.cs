using System.Text.Encodings.Web;
using System.Text.Json;
using Parquet;
using Parquet.Schema;

namespace Influence.Reports;

/// <summary>Scores in files that other programs read: explanations as JSON lines, whole matrices as Parquet.</summary>
public static class ScoreExports
{
    /// <summary>Pairs in one row group of a Parquet file.</summary>
    private const int RowGroup = 1 << 20;

    private static readonly JsonWriterOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>
    /// Writes each query's proponents and opponents as a line of JSON: <c>query_id</c>, <c>query</c>, <c>estimator</c>, <c>unit</c>, and
    /// the lists <c>proponents</c> and <c>opponents</c> of <c>rank</c>, <c>train_id</c>, <c>score</c> and <c>example</c>. UTF-8; a score
    /// that is no finite number is null.
    /// </summary>
    /// <param name="scores">The scores.</param>
    /// <param name="path">The file, ending in <c>.jsonl</c>.</param>
    /// <param name="k">How many of each per query.</param>
    /// <param name="describeTrain">From a training example's id to its text; null for none.</param>
    /// <param name="describeQuery">From a query's id to its text; null for none.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public static void SaveJsonLines(
        this InfluenceScores scores,
        string path,
        int k = 10,
        Func<long, string?>? describeTrain = null,
        Func<long, string?>? describeQuery = null
    )
    {
        ArgumentNullException.ThrowIfNull(scores);
        OutputFile.CheckEnding(path, ".jsonl");
        OutputFile.Write(
            path,
            stream =>
            {
                foreach (var (row, query) in scores.QueryIds.Index())
                {
                    using (var writer = new Utf8JsonWriter(stream, s_json))
                    {
                        writer.WriteStartObject();
                        writer.WriteNumber("query_id", query);
                        Described(writer, "query", query, describeQuery);
                        writer.WriteString("estimator", scores.Metadata.Estimator);
                        writer.WriteString("unit", scores.Metadata.Unit);
                        Side(writer, "proponents", scores.Proponents(row, k), describeTrain);
                        Side(writer, "opponents", scores.Opponents(row, k), describeTrain);
                        writer.WriteEndObject();
                    }

                    stream.WriteByte((byte)'\n');
                }
            }
        );
    }

    /// <summary>
    /// Writes every score as Parquet, a row a pair: <c>query_id</c>, <c>train_id</c> (int64) and <c>score</c> (double). Estimator, unit and
    /// sign are in the file's own metadata.
    /// </summary>
    /// <param name="scores">The scores.</param>
    /// <param name="path">The file, ending in <c>.parquet</c>.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public static void SaveParquet(this InfluenceScores scores, string path)
    {
        ArgumentNullException.ThrowIfNull(scores);
        OutputFile.CheckEnding(path, ".parquet");
        var (query, train, score) = (new DataField<long>("query_id"), new DataField<long>("train_id"), new DataField<double>("score"));
        long[] ids = [.. scores.TrainIds];
        Write(
            path,
            new ParquetSchema(query, train, score),
            scores.Metadata,
            async file =>
            {
                // Whole rows of the matrix, as many as a group holds.
                var rows = Math.Max(1, RowGroup / Math.Max(1, ids.Length));
                for (var start = 0; start < scores.QueryIds.Count; start += rows)
                {
                    var chosen = Enumerable.Range(start, Math.Min(rows, scores.QueryIds.Count - start)).ToList();
                    using var group = file.CreateRowGroup();
                    await group
                        .WriteAsync<long>(query, chosen.SelectMany(row => Enumerable.Repeat(scores.QueryIds[row], ids.Length)).ToArray())
                        .ConfigureAwait(false);
                    await group.WriteAsync<long>(train, chosen.SelectMany(_ => ids).ToArray()).ConfigureAwait(false);
                    await group
                        .WriteAsync<double>(score, chosen.SelectMany(row => scores.ForQuery(row).Values).ToArray())
                        .ConfigureAwait(false);
                }
            }
        );
    }

    /// <summary>Writes the scores as Parquet, a row an example: <c>id</c> (int64) and <c>score</c> (double).</summary>
    /// <param name="scores">The scores.</param>
    /// <param name="path">The file, ending in <c>.parquet</c>.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public static void SaveParquet(this ExampleScores scores, string path)
    {
        ArgumentNullException.ThrowIfNull(scores);
        OutputFile.CheckEnding(path, ".parquet");
        var (id, score) = (new DataField<long>("id"), new DataField<double>("score"));
        Write(
            path,
            new ParquetSchema(id, score),
            scores.Metadata,
            async file =>
            {
                using var group = file.CreateRowGroup();
                await group.WriteAsync<long>(id, scores.Ids.ToArray()).ConfigureAwait(false);
                await group.WriteAsync<double>(score, scores.Values.ToArray()).ConfigureAwait(false);
            }
        );
    }

    private static void Write(string path, ParquetSchema schema, ScoreMetadata metadata, Func<ParquetWriter, Task> write)
    {
        OutputFile.Write(
            path,
            stream =>
                Task.Run(async () =>
                    {
                        var file = await ParquetWriter.CreateAsync(schema, stream).ConfigureAwait(false);
                        await using (file.ConfigureAwait(false))
                        {
                            file.CustomMetadata = new Dictionary<string, string>
                            {
                                ["influence.estimator"] = metadata.Estimator,
                                ["influence.unit"] = metadata.Unit,
                                ["influence.sign"] = metadata.Sign,
                            };
                            await write(file).ConfigureAwait(false);
                        }
                    })
                    .GetAwaiter()
                    .GetResult()
        );
    }

    private static void Side(Utf8JsonWriter writer, string name, RankedExamples examples, Func<long, string?>? describe)
    {
        writer.WriteStartArray(name);
        foreach (var example in examples)
        {
            writer.WriteStartObject();
            writer.WriteNumber("rank", example.Rank);
            writer.WriteNumber("train_id", example.Id);
            if (double.IsFinite(example.Score))
            {
                writer.WriteNumber("score", example.Score);
            }
            else
            {
                writer.WriteNull("score");
            }

            Described(writer, "example", example.Id, describe);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void Described(Utf8JsonWriter writer, string name, long id, Func<long, string?>? describe)
    {
        if (describe?.Invoke(id) is { } text)
        {
            writer.WriteString(name, Cell.Clean(text));
        }
    }
}
