using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Shared;

/// <summary>Windows of bytes that follow each other in a text, each with the byte after every position; random bytes without a
/// text.</summary>
internal static class TextBytes
{
    private static readonly string[] Files =
    [
        "Apache-2.0",
        "GFDL-1.2",
        "GPL-1",
        "GPL-2",
        "GPL-3",
        "LGPL-2",
        "LGPL-3",
        "MPL-1.1",
        "MPL-2.0",
    ];

    public static ((Tensor X, Tensor Y) Train, (Tensor X, Tensor Y) Queries, string Note) Load(
        DataFolder folder,
        WorkloadSize size,
        long positions,
        Device device
    )
    {
        using var scope = NewDisposeScope();
        var window = (int)positions + 1;
        var needed = (size.Train + size.Queries) * window;
        var text = Read(folder.Text);
        var real = text.Length >= needed;
        if (!real)
        {
            text = new byte[needed];
            new Random(size.Seed).NextBytes(text);
        }

        var windows = tensor(text[..needed]).to_type(ScalarType.Int64).reshape(-1, window); // [N + Q, T + 1]

        // Shuffled, so that training examples and queries are of the same texts.
        var order = new Random(size.Seed);
        var places = Enumerable.Range(0, size.Train + size.Queries).Select(i => (long)i).ToArray();
        order.Shuffle(places);
        return (
            Tensors(windows, places[..size.Train], positions, device),
            Tensors(windows, places[size.Train..], positions, device),
            real ? "bytes of free software licences" : "random bytes (no text is installed)"
        );
    }

    private static (Tensor X, Tensor Y) Tensors(Tensor windows, long[] places, long positions, Device device)
    {
        var rows = windows.index_select(0, tensor(places));
        return (
            rows.narrow(1, 0, positions).contiguous().to(device).DetachFromDisposeScope(),
            rows.narrow(1, 1, positions).contiguous().to(device).DetachFromDisposeScope()
        );
    }

    private static byte[] Read(string folder) =>
        [.. Files.Select(name => Path.Combine(folder, name)).Where(File.Exists).SelectMany(File.ReadAllBytes)];
}
