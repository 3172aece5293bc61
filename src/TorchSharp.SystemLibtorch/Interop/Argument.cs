using static TorchSharp.torch;

namespace TorchSharp.Interop;

/// <summary>
/// One argument of an operator call. Made by implicit conversion, so that call sites read like the operator's schema;
/// <c>null</c> of any nullable kind is the schema's None. Holds a reference to what it was made from, which keeps
/// tensors alive for as long as the call runs.
/// </summary>
internal readonly struct Argument
{
    /// <summary>Tensor, tensors, list, string or generator; null for numbers.</summary>
    public object? Reference { get; }

    /// <summary>The bits of a number; the type of a device.</summary>
    public long Bits { get; }

    public ValueTag Tag { get; }

    /// <summary>The index of a device.</summary>
    public int Index { get; }

    private Argument(ValueTag tag, long bits, int index = 0)
    {
        Tag = tag;
        Bits = bits;
        Index = index;
    }

    private Argument(ValueTag tag, object? reference)
    {
        Tag = reference is null ? ValueTag.None : tag;
        Reference = reference;
    }

    public static Argument None => default;

    public static implicit operator Argument(Tensor? tensor) => new(ValueTag.Tensor, tensor);

    public static implicit operator Argument(Tensor?[]? tensors) => new(ValueTag.TensorList, tensors);

    public static implicit operator Argument(long value) => new(ValueTag.Int, value);

    public static implicit operator Argument(long? value) => value is long v ? v : None;

    public static implicit operator Argument(int value) => new(ValueTag.Int, value);

    public static implicit operator Argument(double value) =>
        new(ValueTag.Double, BitConverter.DoubleToInt64Bits(value));

    public static implicit operator Argument(double? value) => value is double v ? v : None;

    public static implicit operator Argument(bool value) => new(ValueTag.Bool, value ? 1 : 0);

    public static implicit operator Argument(bool? value) => value is bool v ? v : None;

    public static implicit operator Argument(string? value) => new(ValueTag.String, value);

    public static implicit operator Argument(long[]? values) => new(ValueTag.IntList, values);

    public static implicit operator Argument(ReadOnlySpan<long> values) => new(ValueTag.IntList, values.ToArray());

    public static implicit operator Argument(double[]? values) => new(ValueTag.DoubleList, values);

    public static implicit operator Argument(bool[]? values) => new(ValueTag.BoolList, values);

    public static implicit operator Argument(ScalarType type) => new(ValueTag.Int, (long)type);

    public static implicit operator Argument(ScalarType? type) => type is ScalarType t ? t : None;

    public static implicit operator Argument(Device? device) =>
        device is null ? None : new(ValueTag.Device, (long)device.type, device.index);

    public static implicit operator Argument(Generator? generator) => new(ValueTag.Generator, generator);

    public static implicit operator Argument(Scalar? scalar) =>
        scalar is null ? None : new(scalar.Tag, scalar.Bits);
}
