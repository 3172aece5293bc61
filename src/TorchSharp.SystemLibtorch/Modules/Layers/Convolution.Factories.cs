using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static Conv1d Conv1d(
            long in_channels,
            long out_channels,
            long kernel_size,
            long stride = 1,
            long padding = 0,
            long dilation = 1,
            PaddingModes padding_mode = PaddingModes.Zeros,
            long groups = 1,
            bool bias = true,
            Device? device = null,
            ScalarType? dtype = null)
            => new(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding,
                null,
                dilation,
                groups,
                bias,
                padding_mode,
                device,
                dtype);

        public static Conv1d Conv1d(
            long in_channels,
            long out_channels,
            long kernel_size,
            Padding padding,
            long stride = 1,
            long dilation = 1,
            PaddingModes padding_mode = PaddingModes.Zeros,
            long groups = 1,
            bool bias = true,
            Device? device = null,
            ScalarType? dtype = null)
            => new(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                null,
                padding,
                dilation,
                groups,
                bias,
                padding_mode,
                device,
                dtype);

        public static Conv2d Conv2d(
            long in_channels,
            long out_channels,
            long kernel_size,
            long stride = 1,
            long padding = 0,
            long dilation = 1,
            PaddingModes padding_mode = PaddingModes.Zeros,
            long groups = 1,
            bool bias = true,
            Device? device = null,
            ScalarType? dtype = null)
            => Conv2d(
                in_channels, out_channels, (kernel_size, kernel_size), (stride, stride), (padding, padding),
                (dilation, dilation), padding_mode, groups, bias, device, dtype);

        public static Conv2d Conv2d(
            long in_channels,
            long out_channels,
            (long, long) kernel_size,
            (long, long)? stride = null,
            (long, long)? padding = null,
            (long, long)? dilation = null,
            PaddingModes padding_mode = PaddingModes.Zeros,
            long groups = 1,
            bool bias = true,
            Device? device = null,
            ScalarType? dtype = null)
            => new(
                in_channels, out_channels, kernel_size, stride ?? (1, 1), padding ?? (0, 0), null, dilation ?? (1, 1),
                groups, bias, padding_mode, device, dtype);

        public static Conv2d Conv2d(
            long in_channels,
            long out_channels,
            long kernel_size,
            Padding padding,
            long stride = 1,
            long dilation = 1,
            PaddingModes padding_mode = PaddingModes.Zeros,
            long groups = 1,
            bool bias = true,
            Device? device = null,
            ScalarType? dtype = null)
            => Conv2d(
                in_channels, out_channels, (kernel_size, kernel_size), padding, (stride, stride), (dilation, dilation),
                padding_mode, groups, bias, device, dtype);

        public static Conv2d Conv2d(
            long in_channels,
            long out_channels,
            (long, long) kernel_size,
            Padding padding,
            (long, long)? stride = null,
            (long, long)? dilation = null,
            PaddingModes padding_mode = PaddingModes.Zeros,
            long groups = 1,
            bool bias = true,
            Device? device = null,
            ScalarType? dtype = null)
            => new(
                in_channels, out_channels, kernel_size, stride ?? (1, 1), null, padding, dilation ?? (1, 1),
                groups, bias, padding_mode, device, dtype);
    }
}
