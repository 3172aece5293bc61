using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Samples.Pretrained.Images;

/// <summary>The block of a ResNet-18: two convolutions with norms, and a shortcut around them. Names are those of TorchVision's own, which
/// is not public.</summary>
internal sealed class ResNetBlock : nn.Module<Tensor, Tensor>
{
    private readonly nn.Module<Tensor, Tensor> conv1;
    private readonly nn.Module<Tensor, Tensor> bn1;
    private readonly nn.Module<Tensor, Tensor> conv2;
    private readonly nn.Module<Tensor, Tensor> bn2;
    private readonly nn.Module<Tensor, Tensor>? downsample;

    public ResNetBlock(int inputs, int outputs, int stride, nn.Module<Tensor, Tensor>? downsample)
        : base(nameof(ResNetBlock))
    {
        conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding: 1, bias: false);
        bn1 = nn.BatchNorm2d(outputs);
        conv2 = nn.Conv2d(outputs, outputs, 3, padding: 1, bias: false);
        bn2 = nn.BatchNorm2d(outputs);
        this.downsample = downsample;
        RegisterComponents();
    }

    public override Tensor forward(Tensor x) =>
        F.relu(bn2.call(conv2.call(F.relu(bn1.call(conv1.call(x))))) + (downsample is null ? x : downsample.call(x)));
}
