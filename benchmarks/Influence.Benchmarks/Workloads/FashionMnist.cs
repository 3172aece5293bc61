using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Workloads;

/// <summary>The first training and test images of Fashion-MNIST, normalised; random data where it is not installed.</summary>
internal static class FashionMnist
{
    private const double Mean = 0.2860;
    private const double StandardDeviation = 0.3530;
    private const int Pixels = 28 * 28;

    public static ((Tensor X, Tensor Y) Train, (Tensor X, Tensor Y) Queries, string Note) Load(
        DataFolder folder,
        WorkloadSize size,
        long[] shape,
        ScalarType dtype,
        Device device
    )
    {
        using var scope = NewDisposeScope();
        var installed = Directory.Exists(folder.FashionMnist);
        var train = installed ? Read(folder.FashionMnist, "train", size.Train) : Random(size.Train, size.Seed);
        var queries = installed ? Read(folder.FashionMnist, "t10k", size.Queries) : Random(size.Queries, size.Seed + 1);
        return (
            Tensors(train, shape, dtype, device),
            Tensors(queries, shape, dtype, device),
            installed ? "Fashion-MNIST" : "random pixels and labels (Fashion-MNIST is not installed)"
        );
    }

    private static (Tensor X, Tensor Y) Tensors((byte[] Pixels, byte[] Labels) data, long[] shape, ScalarType dtype, Device device)
    {
        var x = tensor(data.Pixels).to_type(ScalarType.Float64).div_(255).sub_(Mean).div_(StandardDeviation);
        var y = tensor(data.Labels).to_type(ScalarType.Int64);
        return (
            x.reshape([data.Labels.Length, .. shape]).to_type(dtype).to(device).DetachFromDisposeScope(),
            y.to(device).DetachFromDisposeScope()
        );
    }

    private static (byte[] Pixels, byte[] Labels) Random(int count, int seed)
    {
        var random = new Random(seed);
        var (pixels, labels) = (new byte[count * Pixels], new byte[count]);
        random.NextBytes(pixels);
        for (var i = 0; i < count; i++)
        {
            labels[i] = (byte)random.Next(10);
        }

        return (pixels, labels);
    }

    private static (byte[] Pixels, byte[] Labels) Read(string folder, string part, int count) =>
        (
            IdxFile.Read(Path.Combine(folder, $"{part}-images-idx3-ubyte.gz"), 3, count * Pixels),
            IdxFile.Read(Path.Combine(folder, $"{part}-labels-idx1-ubyte.gz"), 1, count)
        );
}
