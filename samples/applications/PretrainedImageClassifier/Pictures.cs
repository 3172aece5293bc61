using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace PretrainedImageClassifier;

/// <summary>Grey pictures as the pretrained network reads them: larger, the same in three colours, less the mean colour that it was trained
/// with.</summary>
internal static class Pictures
{
    private const string MeanImage = "MeanImage";

    /// <param name="images">The pictures.</param>
    /// <param name="side">How many pixels wide and high they become.</param>
    /// <param name="preparation">The file that holds the mean picture.</param>
    /// <returns><c>[N, 3, side, side]</c>; the caller disposes it.</returns>
    public static Tensor ToTensor(LabelledImages images, int side, OnnxGraph preparation)
    {
        using var scope = NewDisposeScope();
        var mean = preparation.Tensors[MeanImage].ToTensor().mean([2, 3], keepdim: true); // [1, 3, 1, 1]
        byte[] pixels = [.. Enumerable.Range(0, images.Count).SelectMany(i => images.Picture(i).ToArray())];
        var grey = tensor(pixels).reshape(images.Count, 1, LabelledImages.Side, LabelledImages.Side).to_type(ScalarType.Float32);
        return (F.interpolate(grey, [side, side], mode: InterpolationMode.Bilinear, align_corners: false) - mean).MoveToOuterDisposeScope();
    }
}
