using System.Globalization;
using System.Text;

namespace TorchSharp;

/// <summary>How tensors are printed.</summary>
public enum TensorStringStyle
{
    Metadata = 0,
    Julia = 1,
    Numpy = 2,
    CSharp = 3,
    Default = 4,
}

public static partial class TensorExtensionMethods
{
}

public static partial class torch
{
    /// <summary>
    /// Printing: shape, type and device alone, or followed by the elements. TorchSharp has a layout for each style;
    /// here all styles but Metadata print the elements as nested lists.
    /// </summary>
    public partial class Tensor
    {
        // More elements than this along one dimension are shortened to the first and last few.
        private const int MaxShown = 6;

        public override string ToString() => ToString(TorchSharp.TensorStringStyle.Metadata);

        public string ToString(
            bool disamb, string? fltFormat = null, int? width = null, CultureInfo? cultureInfo = null,
            string? newLine = null) =>
            disamb ? ToString(TorchSharp.TensorStringStyle.Default, fltFormat, width, cultureInfo, newLine) : ToString();

        public string ToString(
            TensorStringStyle style, string? fltFormat = null, int? width = null, CultureInfo? cultureInfo = null,
            string? newLine = null)
        {
            if (IsInvalid)
            {
                return "";
            }

            var text = new StringBuilder($"[{string.Join('x', shape)}], type = {dtype}, device = {device}");
            if (style != TorchSharp.TensorStringStyle.Metadata && !is_meta)
            {
                text.Append(Dimensions == 0 ? ", value = " : newLine ?? Environment.NewLine);
                using var scope = NewDisposeScope();
                AppendElements(text, detach(), fltFormat ?? "g5", cultureInfo ?? CultureInfo.CurrentCulture);
            }

            return text.ToString();
        }

        private static void AppendElements(StringBuilder text, Tensor tensor, string format, CultureInfo culture)
        {
            if (tensor.Dimensions == 0)
            {
                var value = tensor.ToScalar();
                text.Append(
                    value.IsFloating ? value.AsDouble.ToString(format, culture)
                    : value.Type == ScalarType.Bool ? value.ToBoolean().ToString()
                    : value.AsInt64.ToString(culture));
                return;
            }

            text.Append('[');
            var count = tensor.size(0);
            for (var i = 0L; i < count; i++)
            {
                text.Append(i > 0 ? ", " : "");
                if (count > MaxShown && i == MaxShown / 2)
                {
                    text.Append("..., ");
                    i = count - (MaxShown / 2);
                }

                AppendElements(text, tensor[i], format, culture);
            }

            text.Append(']');
        }
    }
}
