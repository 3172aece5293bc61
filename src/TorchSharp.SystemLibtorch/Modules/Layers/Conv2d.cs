using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>
/// Convolution over <c>[B, C, H, W]</c>; the weight is <c>[out_channels, in_channels / groups, kH, kW]</c>.
/// </summary>
public sealed class Conv2d : Convolution
{
    internal Conv2d(
        long in_channels,
        long out_channels,
        (long, long) kernel_size,
        (long, long) stride,
        (long, long)? padding,
        Padding? padding_type,
        (long, long) dilation,
        long groups,
        bool bias,
        PaddingModes padding_mode,
        Device? device,
        ScalarType? dtype)
        : base(
            nameof(Conv2d), in_channels, out_channels, List(kernel_size), List(stride),
            padding is { } width ? List(width) : null, padding_type, List(dilation),
            false, [0, 0], groups, bias, padding_mode, device, dtype)
    {
    }

    public override Tensor forward(Tensor input)
    {
        if (!ValidateShape(input, 2))
        {
            throw new ArgumentException(
                $"Conv2d expects [batch, {in_channels}, height, width] or [{in_channels}, height, width], "
                + $"but got [{string.Join(", ", input.shape)}].",
                nameof(input));
        }

        if (padding_mode != PaddingModes.Zeros)
        {
            using var padded = nn.functional.pad(input, _reversed_padding_repeated_twice, padding_mode);
            return nn.functional.conv2d(padded, weight, bias, stride, [0, 0], dilation, groups);
        }

        return padding_type is { } type
            ? nn.functional.conv2d_padding(input, weight, bias, stride, type, dilation, groups)
            : nn.functional.conv2d(input, weight, bias, stride, padding, dilation, groups);
    }

    private static long[] List((long, long) pair) => [pair.Item1, pair.Item2];
}
