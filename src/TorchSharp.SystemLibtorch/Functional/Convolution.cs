using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator Conv1d = new("aten::conv1d");
            private static readonly Operator Conv1dPadding = new("aten::conv1d", "padding");
            private static readonly Operator Conv2d = new("aten::conv2d");
            private static readonly Operator Conv2dPadding = new("aten::conv2d", "padding");

            public static Tensor conv1d(
                Tensor input,
                Tensor weight,
                Tensor? bias = null,
                long? stride = null,
                long? padding = null,
                long? dilation = null,
                long groups = 1)
                => Conv1d.Call(input, weight, bias, stride ?? 1, padding ?? 0, dilation ?? 1, groups);

            public static Tensor conv1d_padding(
                Tensor input,
                Tensor weight,
                Tensor? bias = null,
                long? stride = null,
                Padding padding = Padding.Valid,
                long? dilation = null,
                long groups = 1)
                => Conv1dPadding.Call(input, weight, bias, stride ?? 1, NameOf(padding), dilation ?? 1, groups);

            public static Tensor conv2d(
                Tensor input,
                Tensor weight,
                Tensor? bias = null,
                long[]? strides = null,
                long[]? padding = null,
                long[]? dilation = null,
                long groups = 1)
                => Conv2d.Call(input, weight, bias, strides ?? [1], padding ?? [0], dilation ?? [1], groups);

            public static Tensor conv2d_padding(
                Tensor input,
                Tensor weight,
                Tensor? bias = null,
                long[]? strides = null,
                Padding padding = Padding.Valid,
                long[]? dilation = null,
                long groups = 1)
                => Conv2dPadding.Call(input, weight, bias, strides ?? [1], NameOf(padding), dilation ?? [1], groups);

            private static string NameOf(Padding padding) => padding == Padding.Same ? "same" : "valid";
        }
    }
}
