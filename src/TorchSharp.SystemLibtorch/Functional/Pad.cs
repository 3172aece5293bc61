using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator Pad = new("aten::pad");

            /// <summary>Pads from the last dimension backwards: (left, right), (top, bottom), ...</summary>
            public static Tensor pad(
                Tensor input,
                long[] pad,
                PaddingModes mode = PaddingModes.Constant,
                double value = 0)
            {
                // Only the constant mode takes a value: libtorch refuses it elsewhere.
                double? fill = mode is PaddingModes.Constant or PaddingModes.Zeros ? value : null;
                return Pad.Call(input, pad, NameOf(mode), fill);
            }

            public static Tensor pad(
                Tensor input,
                ReadOnlySpan<long> pad,
                PaddingModes mode = PaddingModes.Constant,
                double value = 0)
                => functional.pad(input, pad.ToArray(), mode, value);

            public static Tensor pad(
                Tensor input,
                (long, long) pad,
                PaddingModes mode = PaddingModes.Constant,
                double value = 0)
                => functional.pad(input, Sizes(pad), mode, value);

            public static Tensor pad(
                Tensor input,
                (long, long, long, long) pad,
                PaddingModes mode = PaddingModes.Constant,
                double value = 0)
                => functional.pad(input, [pad.Item1, pad.Item2, pad.Item3, pad.Item4], mode, value);

            /// <summary>Pads every dimension on both sides by the same length.</summary>
            public static Tensor pad(
                Tensor input,
                long pad,
                PaddingModes mode = PaddingModes.Constant,
                double value = 0)
            {
                var widths = new long[2 * input.shape.Length];
                Array.Fill(widths, pad);
                return functional.pad(input, widths, mode, value);
            }

            private static string NameOf(PaddingModes mode) => mode switch
            {
                PaddingModes.Zeros or PaddingModes.Constant => "constant",
                PaddingModes.Reflect => "reflect",
                PaddingModes.Replicate => "replicate",
                PaddingModes.Circular => "circular",
                _ => throw new ArgumentOutOfRangeException(nameof(mode), mode, "This is not a padding mode."),
            };
        }
    }
}
