using System.Security.Cryptography;
using System.Text;

namespace Influence.Formats;

/// <summary>
/// The steps of a run, one record after the other: step, learning rates where they are others than the step's before, ids as differences in
/// as few bytes as they take. A record is handed to the system as soon as it is made, so that nothing is lost when the process is killed;
/// one that was cut off is no record. Each has a checksum.
/// </summary>
internal sealed class StepsFile : IDisposable
{
    private const int ChecksumBytes = 4;
    private const int MostBytes = 1 << 28;
    private readonly FileStream _stream;
    private double[] _rates;

    private StepsFile(FileStream stream, double[] rates) => (_stream, _rates) = (stream, rates);

    private static ReadOnlySpan<byte> Header => "influence steps 1\n"u8;

    /// <summary>Opens a file to go on after a step; what it has of later steps, and what was cut off, is dropped.</summary>
    /// <param name="path">The file; it is made where there is none.</param>
    /// <param name="last">The last step that stays.</param>
    /// <exception cref="InfluenceException">It cannot be written, or is something else.</exception>
    public static StepsFile Append(string path, long last)
    {
        FileStream? stream = null;
        try
        {
            var (kept, reached, rates) = ((long)Header.Length, 0L, Array.Empty<double>());
            if (File.Exists(path))
            {
                foreach (var (step, own, _, end) in Records(path))
                {
                    if (step > last)
                    {
                        reached = last;
                        break;
                    }

                    (kept, reached, rates) = (end, step, own);
                }

                // What a kill cuts off comes after the last checkpoint.
                if (reached < last && new FileInfo(path).Length > Math.Max(kept, Header.Length))
                {
                    throw new InfluenceException(
                        $"{path} is damaged at byte {kept}: steps after {reached} cannot be read, and the run's last checkpoint is of step "
                            + $"{last}. Take a copy that is whole, or remove it to go on without the steps so far."
                    );
                }
            }

            stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0);
            if (stream.Length < Header.Length)
            {
                stream.SetLength(0);
                stream.Write(Header);
            }

            stream.SetLength(kept);
            stream.Position = kept;
            return new StepsFile(stream, rates);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            stream?.Dispose();
            throw new InfluenceException($"{path} cannot be written: {exception.Message}", exception);
        }
    }

    /// <summary>Adds a step.</summary>
    /// <exception cref="InfluenceException">It cannot be written.</exception>
    public void Add(long step, double[] rates, IReadOnlyList<long> ids)
    {
        using var payload = new MemoryStream();
        using (var writer = new BinaryWriter(payload))
        {
            writer.Write7BitEncodedInt64(step);
            var same = rates.AsSpan().SequenceEqual(_rates);
            writer.Write7BitEncodedInt64(same ? 0 : rates.Length);
            foreach (var rate in same ? [] : rates)
            {
                writer.Write(rate);
            }

            writer.Write7BitEncodedInt64(ids.Count);
            var before = 0L;
            foreach (var id in ids)
            {
                var difference = id - before;
                writer.Write7BitEncodedInt64((difference << 1) ^ (difference >> 63));
                before = id;
            }
        }

        var content = payload.ToArray();
        using var record = new MemoryStream();
        using (var writer = new BinaryWriter(record, Encoding.UTF8, leaveOpen: true))
        {
            writer.Write7BitEncodedInt64(content.Length);
            writer.Write(content);
            writer.Write(SHA256.HashData(content).AsSpan(0, ChecksumBytes));
        }

        try
        {
            _stream.Write(record.GetBuffer().AsSpan(0, (int)record.Length));
        }
        catch (IOException exception)
        {
            throw new InfluenceException($"{_stream.Name} cannot be written: {exception.Message}", exception);
        }

        _rates = rates;
    }

    /// <summary>Reads the steps, in the order in which they were added.</summary>
    /// <exception cref="InfluenceException">It cannot be read, is damaged or something else.</exception>
    public static List<(long Step, double[] Rates, long[] Ids)> Read(string path)
    {
        try
        {
            return [.. Records(path).Select(r => (r.Step, r.Rates, r.Ids))];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException($"{path} cannot be read: {exception.Message}", exception);
        }
    }

    public void Dispose() => _stream.Dispose();

    private static IEnumerable<(long Step, double[] Rates, long[] Ids, long End)> Records(string path)
    {
        byte[] bytes;
        using (var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite))
        {
            if (stream.Length > Array.MaxLength)
            {
                throw new InfluenceException(
                    $"{path} has {stream.Length:N0} bytes, more than can be read at once. Record fewer steps to a folder."
                );
            }

            bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
        }

        var at = Math.Min(bytes.Length, Header.Length);
        if (!bytes.AsSpan(0, at).SequenceEqual(Header[..at]))
        {
            throw new InfluenceException($"{path} holds no steps of a run, or those of a later version.");
        }

        double[] rates = [];
        using var reader = new BinaryReader(new MemoryStream(bytes));
        while (at < bytes.Length)
        {
            var start = at;
            reader.BaseStream.Position = at;
            if (
                !TryTake(reader, out var length)
                || length is < 0 or > MostBytes
                || reader.BaseStream.Position + length + ChecksumBytes > bytes.Length
            )
            {
                // Cut off: the process was killed while it wrote.
                yield break;
            }

            var payload = reader.ReadBytes((int)length);
            var isWhole = SHA256.HashData(payload).AsSpan(0, ChecksumBytes).SequenceEqual(reader.ReadBytes(ChecksumBytes));
            var end = (int)reader.BaseStream.Position;
            if (!isWhole)
            {
                if (end == bytes.Length)
                {
                    yield break;
                }

                throw new InfluenceException(
                    $"{path} is damaged at byte {start}: a step's checksum is not that of its record. Record the run again, or take a "
                        + "copy that is whole."
                );
            }

            var (step, own, ids) = Parse(payload, rates) ?? throw new InfluenceException($"{path} holds a step that cannot be read.");
            (rates, at) = (own, end);
            yield return (step, own, ids, end);
        }
    }

    private static (long Step, double[] Rates, long[] Ids)? Parse(byte[] payload, double[] before)
    {
        using var reader = new BinaryReader(new MemoryStream(payload));
        if (!TryTake(reader, out var step) || !TryTake(reader, out var groups) || groups < 0 || groups > Left() / sizeof(double))
        {
            return null;
        }

        var rates = groups == 0 ? before : [.. Enumerable.Range(0, (int)groups).Select(_ => reader.ReadDouble())];
        if (!TryTake(reader, out var count) || count < 0 || count > Left())
        {
            return null;
        }

        var ids = new long[count];
        var id = 0L;
        for (var k = 0; k < ids.Length; k++)
        {
            if (!TryTake(reader, out var coded))
            {
                return null;
            }

            id += (long)((ulong)coded >> 1) ^ -(coded & 1);
            ids[k] = id;
        }

        return (step, rates, ids);

        long Left() => payload.Length - reader.BaseStream.Position;
    }

    /// <summary>A number of seven bits a byte, the lowest first.</summary>
    private static bool TryTake(BinaryReader reader, out long value)
    {
        try
        {
            value = reader.Read7BitEncodedInt64();
            return true;
        }
        catch (Exception exception) when (exception is EndOfStreamException or FormatException)
        {
            value = 0;
            return false;
        }
    }
}
