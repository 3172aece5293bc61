using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static MaxPool1d MaxPool1d(
            long kernel_size,
            long? stride = null,
            long? padding = null,
            long? dilation = null,
            bool ceil_mode = false)
            => new(kernel_size, stride, padding, dilation, ceil_mode);

        public static MaxPool2d MaxPool2d(
            long kernel_size,
            long? stride = null,
            long? padding = null,
            long? dilation = null,
            bool ceil_mode = false)
            => MaxPool2d((kernel_size, kernel_size), Twice(stride), Twice(padding), Twice(dilation), ceil_mode);

        public static MaxPool2d MaxPool2d(
            (long, long) kernel_size,
            (long, long)? stride = null,
            (long, long)? padding = null,
            (long, long)? dilation = null,
            bool ceil_mode = false)
            => new(
                [kernel_size.Item1, kernel_size.Item2],
                List(stride ?? kernel_size),
                List(padding ?? (0, 0)),
                List(dilation ?? (1, 1)),
                ceil_mode);

        public static MaxPool2d MaxPool2d(
            long[] kernel_size,
            long[]? stride = null,
            long[]? padding = null,
            long[]? dilation = null,
            bool ceil_mode = false)
            => new(kernel_size, stride, padding, dilation, ceil_mode);

        public static AvgPool1d AvgPool1d(
            long kernel_size,
            long? stride = null,
            long padding = 0,
            bool ceil_mode = false,
            bool count_include_pad = true)
            => new(kernel_size, stride, padding, ceil_mode, count_include_pad);

        public static AvgPool2d AvgPool2d(
            long[] kernel_size,
            long[]? stride = null,
            long[]? padding = null,
            bool ceil_mode = false,
            bool count_include_pad = true,
            long? divisor_override = null)
            => new(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override);

        public static AvgPool2d AvgPool2d(
            (long, long) kernel_size,
            (long, long)? stride = null,
            (long, long)? padding = null,
            bool ceil_mode = false,
            bool count_include_pad = true,
            long? divisor_override = null)
            => new(
                [kernel_size.Item1, kernel_size.Item2],
                List(stride),
                List(padding),
                ceil_mode,
                count_include_pad,
                divisor_override);

        public static AvgPool2d AvgPool2d(
            long kernel_size,
            long? stride = null,
            long? padding = null,
            bool ceil_mode = false,
            bool count_include_pad = true,
            long? divisor_override = null)
            => AvgPool2d(
                (kernel_size, kernel_size),
                Twice(stride),
                Twice(padding),
                ceil_mode,
                count_include_pad,
                divisor_override);

        public static AdaptiveAvgPool1d AdaptiveAvgPool1d(long output_size) => new(output_size);

        public static AdaptiveAvgPool2d AdaptiveAvgPool2d(long[] output_size) => new(output_size);

        public static AdaptiveAvgPool2d AdaptiveAvgPool2d((long, long) output_size)
            => new([output_size.Item1, output_size.Item2]);

        public static AdaptiveAvgPool2d AdaptiveAvgPool2d(long output_size) => new([output_size, output_size]);

        private static (long, long)? Twice(long? size) => size is { } length ? (length, length) : null;

        private static long[]? List((long, long)? pair) => pair is { } sizes ? [sizes.Item1, sizes.Item2] : null;
    }
}
