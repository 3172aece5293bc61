using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace Samples.Images;

/// <summary>Two convolutions and a linear layer, 28,938 parameters; the shapes beside the layers are what they put out, with 16
/// channels.</summary>
internal static class SmallCnn
{
    public static Module<Tensor, Tensor> Create(int seed, int channels = 16)
    {
        manual_seed(Randomness.SeedFor(seed, "initial weights"));
        return Sequential(
            ("conv1", Conv2d(1, channels, 5, stride: 2, padding: 2)), // [B, 16, 14, 14]
            ("relu1", ReLU()),
            ("conv2", Conv2d(channels, 2 * channels, 5, stride: 2, padding: 2)), // [B, 32, 7, 7]
            ("relu2", ReLU()),
            ("flatten", Flatten()), // [B, 1568]
            ("linear", Linear(2 * channels * 7 * 7, LabelledImages.ClassCount))
        ); // [B, 10]
    }
}
