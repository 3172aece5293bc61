using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Images;

/// <summary>Grey pictures of 28 x 28 pixels, each with its class, as the files hold them.</summary>
internal sealed class LabelledImages(byte[] pixels, byte[] labels)
{
    public const int Side = 28;

    // Mean and standard deviation of the pixels of Fashion-MNIST's training set, on the scale 0 to 1.
    private const double Mean = 0.2860;
    private const double StandardDeviation = 0.3530;

    private static readonly string[] Classes =
    [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ];

    public static int ClassCount => Classes.Length;

    public int Count => labels.Length;

    public IReadOnlyList<byte> Labels => labels;

    public static string ClassName(int label) => Classes[label];

    public ReadOnlySpan<byte> Picture(int index) => pixels.AsSpan(index * Side * Side, Side * Side);

    /// <summary>Some of the pictures, in the order asked for.</summary>
    public LabelledImages At(IReadOnlyList<int> indexes) =>
        new([.. indexes.SelectMany(i => Picture(i).ToArray())], [.. indexes.Select(i => labels[i])]);

    /// <summary>The pictures as a network reads them: <c>[N, 1, 28, 28]</c>, float32, standardised.</summary>
    public Tensor ToTensor()
    {
        using var scope = NewDisposeScope();
        var bytes = tensor(pixels).reshape(Count, 1, Side, Side);
        var scaled = bytes.to_type(ScalarType.Float32).div_(255 * StandardDeviation).sub_(Mean / StandardDeviation);
        return scaled.MoveToOuterDisposeScope();
    }
}
