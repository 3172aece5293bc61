using System.Text;

namespace Influence.Build;

/// <summary>
/// Reads a shared object for x86-64 as the dynamic loader does: through its program headers and its dynamic section.
/// Section headers play no part, because the loader never looks at them. Each read is checked against the file's end.
/// </summary>
internal sealed class ElfFile
{
    private const int HeaderSize = 64;
    private const int ProgramHeaderSize = 56;
    private const int DynamicEntrySize = 16;
    private const int SharedObject = 3;
    private const int X64 = 62;
    private const uint LoadSegment = 1;
    private const uint DynamicSegment = 2;

    private readonly byte[] _bytes;
    private readonly List<Segment> _loaded = [];
    private readonly Dictionary<ulong, ulong> _dynamic = [];

    /// <exception cref="ElfException">The bytes are not a whole shared object for x86-64.</exception>
    public ElfFile(byte[] bytes)
    {
        _bytes = bytes;
        CheckKind();
        ReadSegments();
    }

    /// <summary>Gives the value of an entry of the dynamic section, such as an address or a size.</summary>
    public bool TryGetDynamic(ulong tag, out ulong value) => _dynamic.TryGetValue(tag, out value);

    /// <summary>Gives the place in the file of what the loader puts at an address.</summary>
    public ulong OffsetOf(ulong address)
    {
        foreach (var segment in _loaded)
        {
            if (address >= segment.Address && address - segment.Address < segment.Size)
                return segment.Offset + (address - segment.Address);
        }
        throw new ElfException($"no segment holds the address 0x{address:x}");
    }

    /// <summary>Gives the place in the file of the table that a dynamic entry names.</summary>
    public ulong Table(ulong tag, string name) =>
        TryGetDynamic(tag, out var address) ? OffsetOf(address) : throw new ElfException($"its dynamic section names no {name}");

    public ushort UInt16(ulong offset)
    {
        var at = Check(offset, 2);
        return (ushort)(_bytes[at] | _bytes[at + 1] << 8);
    }

    public uint UInt32(ulong offset) => UInt16(offset) | (uint)UInt16(offset + 2) << 16;

    public ulong UInt64(ulong offset) => UInt32(offset) | (ulong)UInt32(offset + 4) << 32;

    /// <summary>Reads a name from the dynamic string table.</summary>
    public string Name(uint index)
    {
        var start = Check(Table(DynamicTag.StringTable, "string table") + index, 1);
        var end = Array.IndexOf(_bytes, (byte)0, start);
        return end >= 0
            ? Encoding.UTF8.GetString(_bytes, start, end - start)
            : throw new ElfException("a name runs past the end of the file");
    }

    /// <summary>Throws where a range does not lie in the file, and else gives its start as an index.</summary>
    public int Check(ulong offset, ulong size) =>
        offset <= (ulong)_bytes.Length && size <= (ulong)_bytes.Length - offset
            ? (int)offset
            : throw new ElfException("the file ends too early");

    private void CheckKind()
    {
        if (_bytes.Length < 4 || _bytes[0] != 0x7f || _bytes[1] != 'E' || _bytes[2] != 'L' || _bytes[3] != 'F')
            throw new ElfException("it is not an ELF file");
        Check(0, HeaderSize);
        if (_bytes[4] != 2)
            throw new ElfException("it is not a 64-bit ELF file");
        if (_bytes[5] != 1)
            throw new ElfException("it is not a little-endian ELF file");
        if (UInt16(18) != X64)
            throw new ElfException("it is not for x86-64");
        if (UInt16(16) != SharedObject)
            throw new ElfException("it is not a shared object");
    }

    private void ReadSegments()
    {
        var table = UInt64(32);
        var count = UInt16(56);
        if (count > 0 && UInt16(54) != ProgramHeaderSize)
            throw new ElfException("its program headers have an unknown size");
        Check(table, (ulong)count * ProgramHeaderSize);

        Segment? dynamic = null;
        for (var i = 0; i < count; i++)
        {
            var header = table + (ulong)i * ProgramHeaderSize;
            var kind = UInt32(header);
            if (kind is not (LoadSegment or DynamicSegment))
                continue;
            var segment = new Segment(UInt64(header + 8), UInt64(header + 16), UInt64(header + 32));
            Check(segment.Offset, segment.Size);
            if (kind == LoadSegment)
                _loaded.Add(segment);
            else
                dynamic = segment;
        }
        ReadDynamic(dynamic ?? throw new ElfException("it has no dynamic section"));
    }

    private void ReadDynamic(Segment segment)
    {
        for (ulong at = 0; at + DynamicEntrySize <= segment.Size; at += DynamicEntrySize)
        {
            var tag = UInt64(segment.Offset + at);
            if (tag == DynamicTag.End)
                return;
            _dynamic[tag] = UInt64(segment.Offset + at + 8);
        }
    }

    private sealed class Segment(ulong offset, ulong address, ulong size)
    {
        public ulong Offset { get; } = offset;

        public ulong Address { get; } = address;

        /// <summary>Gets the size in the file; what the loader adds in memory is zero.</summary>
        public ulong Size { get; } = size;
    }
}
