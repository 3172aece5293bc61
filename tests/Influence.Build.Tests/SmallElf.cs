using System.Buffers.Binary;
using System.Text;

namespace Influence.Build.Tests;

/// <summary>
/// Makes a small shared object for x86-64: an ELF header, one loaded segment at an address that is not its place in the
/// file, and a dynamic section with what a test asks for. Nothing could run it; the loader's tables are all there.
/// </summary>
internal sealed class SmallElf
{
    private const ulong Base = 0x400000;
    private const int HeadersSize = 64 + 2 * 56;

    private readonly List<byte> _bytes = [.. new byte[HeadersSize]];
    private readonly List<byte> _strings = [0];
    private readonly List<(ulong Tag, ulong Value)> _dynamic = [];

    public byte Class { get; init; } = 2;

    public byte Order { get; init; } = 1;

    public ushort Machine { get; init; } = 62;

    public ushort Kind { get; init; } = 3;

    /// <summary>A shared object that needs versions of libraries: (library, version, index, flags).</summary>
    public SmallElf Needs(params (string Library, string Version, ushort Index, ushort Flags)[] needs)
    {
        var libraries = needs.GroupBy(n => n.Library).ToList();
        Start(DynamicTag.VersionNeeds);
        _dynamic.Add((DynamicTag.VersionNeedsCount, (ulong)libraries.Count));
        foreach (var library in libraries)
        {
            var size = 16 + 16 * library.Count();
            Add16(1, (ushort)library.Count());
            Add32(Name(library.Key), 16, library == libraries[^1] ? 0 : (uint)size);
            foreach (var need in library)
            {
                Add32(0);
                Add16(need.Flags, need.Index);
                Add32(Name(need.Version), need == library.Last() ? 0u : 16);
            }
        }
        return this;
    }

    public SmallElf Defines(params string[] versions)
    {
        Start(DynamicTag.VersionDefinitions);
        _dynamic.Add((DynamicTag.VersionDefinitionsCount, (ulong)versions.Length));
        for (var i = 0; i < versions.Length; i++)
        {
            Add16(1, 0, (ushort)(i + 2), 1);
            Add32(0, 20, i == versions.Length - 1 ? 0u : 28, Name(versions[i]), 0);
        }
        return this;
    }

    /// <summary>Symbols after the empty first one, each bound to a version by its index.</summary>
    public SmallElf Symbols(params (string Name, ushort Version)[] symbols)
    {
        Start(DynamicTag.SymbolTable);
        Add32(0, 0, 0, 0, 0, 0);
        foreach (var symbol in symbols)
            Add32(Name(symbol.Name), 0, 0, 0, 0, 0);
        Start(DynamicTag.SymbolVersions);
        Add16([0, .. symbols.Select(s => s.Version)]);
        return this;
    }

    public SmallElf Rela(params uint[] symbols) => Relocations(DynamicTag.Rela, DynamicTag.RelaSize, 6, symbols);

    public SmallElf Rel(params uint[] symbols) => Relocations(DynamicTag.Rel, DynamicTag.RelSize, 4, symbols);

    public SmallElf Plt(ulong kind, params uint[] symbols)
    {
        _dynamic.Add((DynamicTag.PltRelocationsKind, kind));
        return Relocations(DynamicTag.PltRelocations, DynamicTag.PltRelocationsSize, kind == DynamicTag.Rela ? 6 : 4, symbols);
    }

    /// <summary>Sets an entry of the dynamic section, also in place of one that another call made.</summary>
    public SmallElf Dynamic(ulong tag, ulong value)
    {
        _dynamic.RemoveAll(e => e.Tag == tag);
        _dynamic.Add((tag, value));
        return this;
    }

    public byte[] Build()
    {
        var bytes = new List<byte>(_bytes);
        var strings = (ulong)bytes.Count;
        bytes.AddRange(_strings);
        Align(bytes);
        var dynamic = (ulong)bytes.Count;
        foreach (var (tag, value) in _dynamic.Append((DynamicTag.StringTable, Base + strings)).Append((DynamicTag.End, 0ul)))
        {
            Append(bytes, tag);
            Append(bytes, value);
        }
        var file = bytes.ToArray();
        WriteHeaders(file, dynamic);
        return file;
    }

    private void WriteHeaders(byte[] file, ulong dynamic)
    {
        Encoding.ASCII.GetBytes("\u007fELF").CopyTo(file, 0);
        (file[4], file[5], file[6]) = (Class, Order, 1);
        Put16(file, 16, Kind);
        Put16(file, 18, Machine);
        Put64(file, 32, 64);
        Put16(file, 54, 56);
        Put16(file, 56, 2);
        WriteSegment(file, 64, 1, 0, (ulong)file.Length);
        WriteSegment(file, 64 + 56, 2, dynamic, (ulong)file.Length - dynamic);
    }

    private static void WriteSegment(byte[] file, int at, ushort kind, ulong offset, ulong size)
    {
        Put16(file, at, kind);
        Put64(file, at + 8, offset);
        Put64(file, at + 16, Base + offset);
        Put64(file, at + 32, size);
        Put64(file, at + 40, size);
    }

    private SmallElf Relocations(ulong table, ulong size, int wordsOfEntry, uint[] symbols)
    {
        Start(table);
        _dynamic.Add((size, (ulong)(symbols.Length * wordsOfEntry * 4)));
        foreach (var symbol in symbols)
            Add32([0, 0, 6, symbol, .. new uint[wordsOfEntry - 4]]);
        return this;
    }

    private void Start(ulong tag)
    {
        Align(_bytes);
        _dynamic.Add((tag, Base + (ulong)_bytes.Count));
    }

    private uint Name(string name)
    {
        var index = (uint)_strings.Count;
        _strings.AddRange(Encoding.UTF8.GetBytes(name));
        _strings.Add(0);
        return index;
    }

    private void Add16(params ushort[] values)
    {
        foreach (var value in values)
            _bytes.AddRange([(byte)value, (byte)(value >> 8)]);
    }

    private void Add32(params uint[] values)
    {
        foreach (var value in values)
            Add16((ushort)value, (ushort)(value >> 16));
    }

    private static void Append(List<byte> bytes, ulong value)
    {
        for (var i = 0; i < 8; i++)
            bytes.Add((byte)(value >> 8 * i));
    }

    private static void Align(List<byte> bytes)
    {
        while (bytes.Count % 8 != 0)
            bytes.Add(0);
    }

    private static void Put16(byte[] file, int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(at), value);

    private static void Put64(byte[] file, int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(at), value);
}
