using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence;

/// <summary>An open file of scores: safetensors, of which only what is asked for is read, or a bare array.</summary>
internal sealed class ScoreFile : IDisposable
{
    private readonly string _path;
    private readonly SafetensorsFile? _file;

    private ScoreFile(string path, SafetensorsFile? file)
    {
        (_path, _file) = (path, file);
        Metadata = ScoreMetadata.FromStrings(file?.Metadata ?? [], file?.Integrity ?? SafetensorsChecksum.Unverified);
    }

    /// <summary>What the file says of the scores, and whether it can be trusted.</summary>
    public ScoreMetadata Metadata { get; }

    public static ScoreFile Open(string path) =>
        new(path, path.EndsWith(".npy", StringComparison.OrdinalIgnoreCase) ? null : SafetensorsFile.Open(path));

    /// <summary>The scores, as float32 or float64; the caller's scope owns them.</summary>
    /// <param name="expected">What is looked for, for the message.</param>
    public Tensor Scores(string expected)
    {
        if (_file is not null && !_file.Entries.ContainsKey("scores"))
        {
            throw new InfluenceException($"{_path} has no {expected}; it holds {InfluenceException.List([.. _file.Entries.Keys])}.");
        }

        var values = _file is null ? Npy.Load(_path) : _file.Read("scores");
        return values.dtype switch
        {
            ScalarType.Float32 or ScalarType.Float64 => values,
            ScalarType.Float16 or ScalarType.BFloat16 => values.to_type(ScalarType.Float32),
            var other => throw new InfluenceException($"{_path} has scores of type {other}; expected a float type."),
        };
    }

    /// <summary>The sizes of the matrix of scores, of which rows can be read.</summary>
    public (long Queries, long Train) Shape() =>
        _file is not null
        && _file.Entries.TryGetValue("scores", out var entry)
        && entry is { Shape: [var queries, var train], Type: "F32" or "F64" or "F16" or "BF16" }
            ? (queries, train)
            : throw new InfluenceException(
                $"{_path} has no matrix \"scores\" [queries, train] of a float type, of which parts can be read"
                    + (
                        _file is null
                            ? ". Convert it to safetensors: InfluenceScores.Load(path).Save(\"scores.safetensors\")."
                            : $"; it holds {InfluenceException.List([.. _file.Entries.Keys])}."
                    )
            );

    /// <summary>Some of the scores, as float32 or float64; the caller's scope owns them.</summary>
    public Tensor Part(IReadOnlyList<int> queries, IReadOnlyList<int>? train)
    {
        var values = _file!.ReadRows("scores", queries, train);
        return values.dtype is ScalarType.Float16 or ScalarType.BFloat16 ? values.to_type(ScalarType.Float32) : values;
    }

    /// <summary>Ids, one for each row or column; 0, 1, 2, ... where the file has none.</summary>
    /// <param name="name">The tensor.</param>
    /// <param name="count">How many.</param>
    public long[] Ids(string name, long count)
    {
        if (count > Array.MaxLength)
        {
            throw new InfluenceException($"{_path} has scores for {count:N0} ids; at most {Array.MaxLength:N0} can be read.");
        }

        if (_file is null || !_file.Entries.TryGetValue(name, out var entry))
        {
            return [.. Enumerable.Range(0, (int)count).Select(i => (long)i)];
        }

        if (entry.Shape.Length != 1 || entry.Shape[0] != count || entry.Type is not ("I64" or "I32" or "I16" or "I8" or "U8"))
        {
            throw new InfluenceException(
                $"{_path}: \"{name}\" is {entry.Describe()}; expected one whole number for each of {count} scores, I64 [{count}]."
            );
        }

        using var scope = NewDisposeScope();
        return _file.Read(name).to_type(ScalarType.Int64).data<long>().ToArray();
    }

    public void Dispose() => _file?.Dispose();
}
