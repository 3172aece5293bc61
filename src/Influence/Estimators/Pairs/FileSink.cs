using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Writes every score to its place in a safetensors file, the one that <see cref="InfluenceScores.Save"/> would write, in the memory of one
/// block. The file has its name only when it is whole.
/// </summary>
internal sealed class FileSink : ScoreSink
{
    /// <summary>Room for what is known at the end only; eleven texts of at most <see cref="LongestText"/> characters fit, six bytes each.</summary>
    private const int HeaderBytes = 320 << 10;
    private const int LongestText = 4000;

    private readonly PartialFile _file;

    /// <exception cref="InfluenceException">Another ending, or the folder cannot be written.</exception>
    public FileSink(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        Safetensors.CheckName(path);
        _file = new PartialFile(path);
    }

    private long ScoreBytes => (long)QueryIds.Count * TrainIds.Count * Dtype.ElementSize();

    public void Finish(ScoreMetadata metadata)
    {
        CheckComplete();
        var strings = metadata.ToStrings().ToDictionary(pair => pair.Key, pair => pair.Value.Length <= LongestText ? pair.Value : pair.Value[..LongestText]);
        _file.Write(0, Safetensors.Header(
            [("scores", Dtype, [QueryIds.Count, TrainIds.Count]), ("query_ids", ScalarType.Int64, [QueryIds.Count]), ("train_ids", ScalarType.Int64, [TrainIds.Count])],
            strings,
            HeaderBytes));
        WriteIds(QueryIds, HeaderBytes + ScoreBytes);
        WriteIds(TrainIds, HeaderBytes + ScoreBytes + (8L * QueryIds.Count));
        _file.Commit();
    }

    /// <summary>All the room is taken now: a disk that is too small is found before the first batch.</summary>
    protected override void Start() => _file.Reserve(HeaderBytes + ScoreBytes + (8L * (QueryIds.Count + TrainIds.Count)));

    protected override void Take(int query, int train, Tensor values)
    {
        var (element, columns) = ((int)Dtype.ElementSize(), (int)values.shape[1]);
        for (var row = 0; row < (int)values.shape[0]; row++)
        {
            using var one = values.select(0, row).clone();                              // [b]
            _file.Write(HeaderBytes + (((((long)query + row) * TrainIds.Count) + train) * element), one.bytes[..(columns * element)]);
        }
    }

    protected override void Dispose(bool disposing)
    {
        _file.Dispose();
        base.Dispose(disposing);
    }

    private void WriteIds(IReadOnlyList<long> ids, long start)
    {
        using var scope = NewDisposeScope();
        _file.Write(start, tensor(ids.ToArray()).bytes);
    }
}
