using TorchSharp.Interop;

namespace TorchSharp;

/// <summary>
/// A number whose type is decided at run time. Unlike TorchSharp's own, it holds no native memory: disposing it does
/// nothing, and there is no finaliser to race with.
/// </summary>
public sealed class Scalar : IDisposable
{
    private Scalar(torch.ScalarType type, ValueTag tag, long bits)
    {
        Type = type;
        Tag = tag;
        Bits = bits;
    }

    public torch.ScalarType Type { get; }

    /// <summary>How the number crosses to native code: Int, Double or Bool.</summary>
    internal ValueTag Tag { get; }

    internal long Bits { get; }

    internal bool IsFloating => Tag == ValueTag.Double;

    internal double AsDouble => IsFloating ? BitConverter.Int64BitsToDouble(Bits) : Bits;

    internal long AsInt64 => IsFloating ? (long)BitConverter.Int64BitsToDouble(Bits) : Bits;

    public static implicit operator Scalar(byte value) => Integer(value);

    public static implicit operator Scalar(sbyte value) => Integer(value);

    public static implicit operator Scalar(short value) => Integer(value);

    public static implicit operator Scalar(int value) => Integer(value);

    public static implicit operator Scalar(long value) => Integer(value);

    public static implicit operator Scalar(Half value) => Floating((double)value);

    public static implicit operator Scalar(float value) => Floating(value);

    public static implicit operator Scalar(double value) => Floating(value);

    public static implicit operator Scalar(bool value) =>
        new(torch.ScalarType.Bool, ValueTag.Bool, value ? 1 : 0);

    public void Dispose()
    {
    }

    // libtorch keeps every integer as int64 and every floating-point number as double; the tensor decides the rest.
    internal static Scalar Integer(long value) => new(torch.ScalarType.Int64, ValueTag.Int, value);

    internal static Scalar Floating(double value) =>
        new(torch.ScalarType.Float64, ValueTag.Double, BitConverter.DoubleToInt64Bits(value));
}
