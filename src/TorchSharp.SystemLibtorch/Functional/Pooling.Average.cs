using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator AvgPool1d = new("aten::avg_pool1d");
            private static readonly Operator AvgPool2d = new("aten::avg_pool2d");
            private static readonly Operator AdaptiveAvgPool1d = new("aten::adaptive_avg_pool1d");
            private static readonly Operator AdaptiveAvgPool2d = new("aten::adaptive_avg_pool2d");

            public static Tensor avg_pool1d(
                Tensor input,
                long kernel_size,
                long? stride = null,
                long? padding = null,
                bool ceil_mode = false,
                bool count_include_pad = true)
                => AvgPool1d.Call(
                    input, kernel_size, stride ?? kernel_size, padding ?? 0, ceil_mode, count_include_pad);

            public static Tensor avg_pool2d(
                Tensor input,
                long[] kernel_size,
                long[]? stride = null,
                long[]? padding = null,
                bool ceil_mode = false,
                bool count_include_pad = true,
                long? divisor_override = null)
                => AvgPool2d.Call(
                    input, kernel_size, stride ?? kernel_size,
                    padding ?? [0], ceil_mode, count_include_pad, divisor_override);

            public static Tensor avg_pool2d(
                Tensor input,
                long kernel_size,
                long? stride = null,
                long padding = 0,
                bool ceil_mode = false,
                bool count_include_pad = true,
                long? divisor_override = null)
                => AvgPool2d.Call(
                    input, kernel_size, stride ?? kernel_size, padding, ceil_mode, count_include_pad, divisor_override);

            public static Tensor avg_pool2d(
                Tensor input,
                (long, long) kernel_size,
                (long, long)? stride = null,
                (long, long)? padding = null,
                bool ceil_mode = false,
                bool count_include_pad = true,
                long? divisor_override = null)
                => avg_pool2d(
                    input,
                    Sizes(kernel_size),
                    Sizes(stride ?? kernel_size),
                    Sizes(padding ?? (0, 0)),
                    ceil_mode,
                    count_include_pad,
                    divisor_override);

            public static Tensor adaptive_avg_pool1d(Tensor input, long output_size)
                => AdaptiveAvgPool1d.Call(input, output_size);

            public static Tensor adaptive_avg_pool2d(Tensor input, long[] output_size)
                => AdaptiveAvgPool2d.Call(input, output_size);

            public static Tensor adaptive_avg_pool2d(Tensor input, (long, long) output_size)
                => adaptive_avg_pool2d(input, Sizes(output_size));

            public static Tensor adaptive_avg_pool2d(Tensor input, long output_size)
                => adaptive_avg_pool2d(input, (output_size, output_size));
        }
    }
}
