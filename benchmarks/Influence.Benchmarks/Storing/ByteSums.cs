using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using System.Runtime.Intrinsics;
using Influence.Stores;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Storing;

/// <summary>The least that a scan can do: every byte of the same files read once; and the scan itself.</summary>
internal sealed class ByteSums(IReadOnlyDictionary<ScalarType, GradientStore> stores) : IDisposable
{
    private const int PieceBytes = 1 << 18;
    private readonly Dictionary<(ScalarType, int), Tensor> _queries = [];
    private readonly byte[] _random = RandomBytes();

    /// <summary>Kept, so that no compiler leaves the sums out.</summary>
    public ulong Total { get; private set; }

    public static long BytesOf(GradientStore store) => Shards(store).Sum(file => new FileInfo(file).Length);

    /// <summary>Adds all shards' bytes as 64-bit numbers, mapped as the store maps them.</summary>
    public unsafe void Sum(ScalarType type)
    {
        foreach (var path in Shards(stores[type]))
        {
            var length = new FileInfo(path).Length;
            using var file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
            using var view = file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
            byte* first = null;
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref first);
            var sums = new ulong[(length + PieceBytes - 1) / PieceBytes];
            Threads.ForEach(
                sums.Length,
                piece => sums[piece] = SumOf(first + ((long)piece * PieceBytes), Math.Min(PieceBytes, length - ((long)piece * PieceBytes)))
            );
            Total += sums.Aggregate((a, b) => a + b);
            view.SafeMemoryMappedViewHandle.ReleasePointer();
        }
    }

    /// <summary>All products of some queries.</summary>
    public void Scan(ScalarType type, int queries)
    {
        var store = stores[type];
        if (!_queries.TryGetValue((type, queries), out var rows))
        {
            rows = randn([queries, store.Width]).DetachFromDisposeScope();
            _queries.Add((type, queries), rows);
        }

        store.Scan(rows, (_, _, _) => { }, _ => true, default);
    }

    /// <summary>Seconds to write and flush as many bytes as a store has, in files as large as its shards.</summary>
    public double WriteToDisk(string folder, GradientStore store)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }

        Directory.CreateDirectory(folder);
        var clock = Stopwatch.StartNew();
        foreach (var (path, k) in Shards(store).Select((path, k) => (path, k)))
        {
            using var stream = File.Create(Path.Combine(folder, $"{k}"));
            for (var left = new FileInfo(path).Length; left > 0; left -= _random.Length)
            {
                stream.Write(_random.AsSpan(0, (int)Math.Min(left, _random.Length)));
            }

            stream.Flush(flushToDisk: true);
        }

        return clock.Elapsed.TotalSeconds;
    }

    public void Dispose()
    {
        foreach (var rows in _queries.Values)
        {
            rows.Dispose();
        }
    }

    private static unsafe ulong SumOf(byte* from, long count)
    {
        var (a, b, c, d) = (Vector256<ulong>.Zero, Vector256<ulong>.Zero, Vector256<ulong>.Zero, Vector256<ulong>.Zero);
        var at = 0L;
        for (; at + 128 <= count; at += 128)
        {
            a += Vector256.Load((ulong*)(from + at));
            b += Vector256.Load((ulong*)(from + at + 32));
            c += Vector256.Load((ulong*)(from + at + 64));
            d += Vector256.Load((ulong*)(from + at + 96));
        }

        var sum = Vector256.Sum(a + b + c + d);
        for (; at < count; at++)
        {
            sum += from[at];
        }

        return sum;
    }

    private static IEnumerable<string> Shards(GradientStore store) => Directory.EnumerateFiles(store.Folder, "shard-*.bin").Order();

    private static byte[] RandomBytes()
    {
        var bytes = new byte[1 << 20];
        new Random(1).NextBytes(bytes);
        return bytes;
    }
}
