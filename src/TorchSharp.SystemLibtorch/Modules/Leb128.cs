namespace TorchSharp.Utils;

/// <summary>Little-endian base 128: seven bits a byte, lowest first, the top bit set while more follow.</summary>
internal static class Leb128
{
    public static void Write(BinaryWriter writer, long value)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(value);
        for (; value > 0x7f; value >>= 7)
        {
            writer.Write((byte)((value & 0x7f) | 0x80));
        }

        writer.Write((byte)value);
    }

    public static long Read(BinaryReader reader)
    {
        long value = 0;
        for (var shift = 0; shift < 63; shift += 7)
        {
            var next = reader.ReadByte();
            value |= (next & 0x7fL) << shift;
            if ((next & 0x80) == 0)
            {
                return value;
            }
        }

        throw new InvalidDataException("A stored number has more than nine bytes: this is not a TorchSharp file.");
    }
}
