using System.Buffers.Binary;
using System.Text;

namespace Influence.Benchmarks.Libtorch;

/// <summary>
/// Reads what a shared library's file (ELF, 64 bits, x86-64) needs from others, without loading it: a machine with a
/// PyTorch need have neither nm nor readelf.
/// </summary>
internal sealed class SharedLibrary
{
    private const int HeaderLength = 64;
    private const int SectionLength = 64;
    private const int SegmentLength = 56;
    private const int SymbolLength = 24;
    private const int RelocationLength = 24;
    private const uint Load = 1;
    private const uint Relocations = 4;
    private const uint Dynamic = 6;
    private const uint DynamicSymbols = 11;
    private const ulong NeededTag = 1;
    private const int Global = 1;

    private readonly byte[] _bytes;
    private readonly List<Section> _sections = [];

    private SharedLibrary(byte[] bytes)
    {
        _bytes = bytes;
        var table = Number(bytes, 0x28);
        for (var i = 0; i < BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(0x3c)); i++)
        {
            var header = bytes.AsSpan(checked((int)table) + (i * SectionLength), SectionLength);
            _sections.Add(
                new Section(
                    BinaryPrimitives.ReadUInt32LittleEndian(header[4..]),
                    checked((int)Number(header, 24)),
                    checked((int)Number(header, 32)),
                    BinaryPrimitives.ReadInt32LittleEndian(header[40..])
                )
            );
        }
    }

    /// <summary>Reads a library that is whole.</summary>
    public static SharedLibrary Read(string path) =>
        Problem(path) is { } problem ? throw new BenchmarkException(problem) : new SharedLibrary(File.ReadAllBytes(path));

    /// <summary>Says why the loader could not map a file, or would crash in it; null where nothing is wrong with it.</summary>
    public static string? Problem(string path)
    {
        var name = Path.GetFileName(path);
        using var file = File.OpenRead(path);
        var header = new byte[HeaderLength];
        if (
            file.ReadAtLeast(header, HeaderLength, throwOnEndOfStream: false) < HeaderLength
            || !header.AsSpan(0, 6).SequenceEqual("\u007fELF\u0002\u0001"u8)
        )
        {
            return $"{name} is no 64-bit ELF library ({file.Length:N0} bytes)";
        }

        if (BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(0x12)) is not 62 and var machine)
        {
            return $"{name} is for another processor (ELF machine {machine}, x86-64 is 62)";
        }

        var segments = new byte[BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(0x38)) * SegmentLength];
        file.Position = (long)Number(header, 0x20);
        if (file.ReadAtLeast(segments, segments.Length, throwOnEndOfStream: false) < segments.Length)
        {
            return $"{name} is cut off within its headers";
        }

        // The loader maps what lies beyond the end of the file as well, and its first look there ends the process.
        var end = segments
            .Chunk(SegmentLength)
            .Where(segment => BinaryPrimitives.ReadUInt32LittleEndian(segment) == Load)
            .Select(segment => Number(segment, 8) + Number(segment, 32))
            .DefaultIfEmpty()
            .Max();
        return end > (ulong)file.Length ? $"{name} is cut off: {file.Length:N0} of at least {end:N0} bytes" : null;
    }

    /// <summary>The libraries that it names as its own.</summary>
    public IReadOnlyList<string> Needed()
    {
        var dynamic = Of(Dynamic);
        var needed = new List<string>();
        for (var at = dynamic.Offset; at < dynamic.Offset + dynamic.Length; at += 16)
        {
            if (Number(_bytes, at) == NeededTag)
            {
                needed.Add(Text(dynamic, checked((int)Number(_bytes, at + 8))));
            }
        }

        return needed;
    }

    /// <summary>
    /// The symbols that others must define. Weak ones may stay without, and those that no relocation names are never looked for:
    /// that of GCC 13's libstdc++ is such a marker.
    /// </summary>
    public IReadOnlyList<string> UndefinedSymbols()
    {
        var symbols = Of(DynamicSymbols);
        var undefined = new List<string>();
        foreach (var index in Relocated())
        {
            var at = symbols.Offset + (index * SymbolLength);
            if (BinaryPrimitives.ReadUInt16LittleEndian(_bytes.AsSpan(at + 6)) == 0 && _bytes[at + 4] >> 4 == Global)
            {
                undefined.Add(Text(symbols, BinaryPrimitives.ReadInt32LittleEndian(_bytes.AsSpan(at))));
            }
        }

        return undefined;
    }

    /// <summary>The places in the table of symbols that relocations name; 0 stands for none.</summary>
    private IEnumerable<int> Relocated() =>
        _sections
            .Where(section => section.Type == Relocations)
            .SelectMany(section =>
                Enumerable.Range(0, section.Length / RelocationLength).Select(i => section.Offset + (i * RelocationLength))
            )
            .Select(at => checked((int)(Number(_bytes, at + 8) >> 32)))
            .Where(index => index != 0)
            .Distinct();

    private Section Of(uint type) => _sections.First(section => section.Type == type);

    private string Text(Section of, int index)
    {
        var start = _sections[of.Link].Offset + index;
        return Encoding.ASCII.GetString(_bytes, start, Array.IndexOf(_bytes, (byte)0, start) - start);
    }

    private static ulong Number(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]);

    private readonly record struct Section(uint Type, int Offset, int Length, int Link);
}
