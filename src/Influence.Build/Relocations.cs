namespace Influence.Build;

/// <summary>
/// Reads the symbols that the loader resolves: those which a relocation names. `.rela.dyn`, `.rel.dyn` and `.rela.plt`
/// are read; a table of packed relative relocations (DT_RELR) holds addresses and never a symbol.
/// </summary>
internal static class Relocations
{
    private const ulong RelaEntry = 24;
    private const ulong RelEntry = 16;

    /// <exception cref="ElfException">A table is damaged.</exception>
    public static IEnumerable<uint> Symbols(ElfFile file)
    {
        var isRela = !file.TryGetDynamic(DynamicTag.PltRelocationsKind, out var kind) || kind == DynamicTag.Rela;
        return Read(file, DynamicTag.Rela, DynamicTag.RelaSize, RelaEntry)
            .Concat(Read(file, DynamicTag.Rel, DynamicTag.RelSize, RelEntry))
            .Concat(Read(file, DynamicTag.PltRelocations, DynamicTag.PltRelocationsSize, isRela ? RelaEntry : RelEntry));
    }

    private static IEnumerable<uint> Read(ElfFile file, ulong tableTag, ulong sizeTag, ulong entrySize)
    {
        if (!file.TryGetDynamic(tableTag, out var address))
            yield break;
        if (!file.TryGetDynamic(sizeTag, out var size))
            throw new ElfException("it does not say how many relocations it has");
        if (size == 0)
            yield break;

        var table = file.OffsetOf(address);
        file.Check(table, size);
        for (ulong at = 0; at + entrySize <= size; at += entrySize)
        {
            var symbol = (uint)(file.UInt64(table + at + 8) >> 32);
            if (symbol != 0)
                yield return symbol;
        }
    }
}
