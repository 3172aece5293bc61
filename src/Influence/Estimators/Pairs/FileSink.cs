using System.Security.Cryptography;
using Influence.Formats;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>
/// Writes every score to its place in a safetensors file, the one that <see cref="InfluenceScores.Save"/> would write, in the memory of one
/// block. Checksums are taken at the end, by reading the file once.
/// </summary>
/// <param name="stream">The file; it stays the caller's.</param>
internal sealed class FileSink(Stream stream) : ScoreSink
{
    /// <summary>Room for what is known at the end only: thirteen texts of at most <see cref="LongestText"/> characters, six bytes each, and
    /// checksums.</summary>
    private const int HeaderBytes = 352 << 10;
    private const int LongestText = 4000;
    private const int Piece = 1 << 22;

    private IReadOnlyList<SafetensorsEntry> _entries = [];

    /// <summary>Whether the file could not be written; an exception that comes then is the file system's.</summary>
    public bool Failed { get; private set; }

    public void Finish(ScoreMetadata metadata)
    {
        CheckComplete();
        WriteIds(QueryIds, _entries[1]);
        WriteIds(TrainIds, _entries[2]);
        stream.Flush();
        var digests = _entries.Select(Hash).ToList();
        var strings = metadata
            .ToStrings()
            .ToDictionary(pair => pair.Key, pair => pair.Value.Length <= LongestText ? pair.Value : pair.Value[..LongestText]);
        stream.Position = 0;
        stream.Write(SafetensorsHeader.ToBytes(_entries, SafetensorsChecksum.AddTo(strings, _entries, digests), HeaderBytes));
    }

    /// <summary>A disk that is too small is found before the first batch.</summary>
    protected override void Start()
    {
        var (type, size) = SafetensorsType.Of(Dtype);
        long scores = (long)QueryIds.Count * TrainIds.Count * size,
            queries = scores + (8L * QueryIds.Count),
            train = queries + (8L * TrainIds.Count);
        _entries =
        [
            new("scores", type, [QueryIds.Count, TrainIds.Count], 0, scores),
            new("query_ids", "I64", [QueryIds.Count], scores, queries),
            new("train_ids", "I64", [TrainIds.Count], queries, train),
        ];
        Writing(() =>
        {
            var needed = HeaderBytes + train;
            if (
                stream is FileStream file
                && new DriveInfo(Path.GetDirectoryName(file.Name)!).AvailableFreeSpace is var free
                && free < needed
            )
            {
                throw new IOException($"The scores take {needed:N0} bytes, and {free:N0} are free there.");
            }

            stream.SetLength(needed);
        });
    }

    protected override void Take(int query, int train, Tensor values) =>
        Writing(() =>
        {
            using var scope = NewDisposeScope();
            for (var row = 0; row < (int)values.shape[0]; row++)
            {
                var bytes = values.select(0, row).clone().bytes; // [b]
                stream.Position = HeaderBytes + (((((long)query + row) * TrainIds.Count) + train) * Dtype.ElementSize());
                stream.Write(bytes);
            }
        });

    private void WriteIds(IReadOnlyList<long> ids, SafetensorsEntry entry)
    {
        using var scope = NewDisposeScope();
        stream.Position = HeaderBytes + entry.Begin;
        stream.Write(tensor(ids.ToArray()).bytes);
    }

    private byte[] Hash(SafetensorsEntry entry)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[(int)Math.Min(Piece, entry.End - entry.Begin)];
        stream.Position = HeaderBytes + entry.Begin;
        for (var left = entry.End - entry.Begin; left > 0; left -= buffer.Length)
        {
            var piece = buffer.AsSpan(0, (int)Math.Min(buffer.Length, left));
            stream.ReadExactly(piece);
            hash.AppendData(piece);
        }

        return hash.GetHashAndReset();
    }

    private void Writing(Action write)
    {
        try
        {
            write();
        }
        catch
        {
            Failed = true;
            throw;
        }
    }
}
