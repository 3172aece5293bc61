using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator Im2Col = new("aten::im2col");
            private static readonly Operator Col2Im = new("aten::col2im");

            /// <summary>The sliding blocks of <c>[B, C, H, W]</c> as columns: <c>[B, C kH kW, positions]</c>.</summary>
            public static Tensor unfold(
                Tensor input,
                (long, long) kernel_size,
                (long, long)? dilation = null,
                (long, long)? padding = null,
                (long, long)? stride = null)
                => Im2Col.Call(
                    input, Sizes(kernel_size),
                    Sizes(dilation ?? (1, 1)), Sizes(padding ?? (0, 0)), Sizes(stride ?? (1, 1)));

            public static Tensor unfold(
                Tensor input,
                long kernel_size,
                long dilation = 1,
                long padding = 0,
                long stride = 1)
                => unfold(
                    input, (kernel_size, kernel_size), (dilation, dilation), (padding, padding), (stride, stride));

            /// <summary>The adjoint of <c>unfold</c>: sums the columns back at their places.</summary>
            public static Tensor fold(
                Tensor input,
                (long, long) output_size,
                (long, long) kernel_size,
                (long, long)? dilation = null,
                (long, long)? padding = null,
                (long, long)? stride = null)
                => Col2Im.Call(
                    input,
                    Sizes(output_size),
                    Sizes(kernel_size),
                    Sizes(dilation ?? (1, 1)),
                    Sizes(padding ?? (0, 0)),
                    Sizes(stride ?? (1, 1)));

            public static Tensor fold(
                Tensor input,
                long output_size,
                long kernel_size,
                long dilation = 1,
                long padding = 0,
                long stride = 1)
                => fold(
                    input,
                    (output_size, output_size),
                    (kernel_size, kernel_size),
                    (dilation, dilation),
                    (padding, padding),
                    (stride, stride));
        }
    }
}
