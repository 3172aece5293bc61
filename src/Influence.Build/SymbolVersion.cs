namespace Influence.Build;

/// <summary>Reads `.gnu.version`: the version that each symbol is bound to.</summary>
internal sealed class SymbolVersion(ElfFile file)
{
    /// <summary>Takes away the bit that marks a version as hidden.</summary>
    public const int IndexMask = 0x7fff;

    private const ulong SymbolSize = 24;

    private readonly ulong _versions = file.Table(DynamicTag.SymbolVersions, "versions of symbols");
    private readonly ulong _symbols = file.Table(DynamicTag.SymbolTable, "symbol table");

    public ushort IndexOf(uint symbol) => (ushort)(file.UInt16(_versions + 2 * (ulong)symbol) & IndexMask);

    public string NameOf(uint symbol) => file.Name(file.UInt32(_symbols + SymbolSize * symbol));
}
