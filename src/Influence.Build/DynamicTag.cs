namespace Influence.Build;

/// <summary>Names the entries of a dynamic section that are read here, by their names in the ELF specification.</summary>
internal static class DynamicTag
{
    public const ulong End = 0;
    public const ulong PltRelocationsSize = 2;
    public const ulong StringTable = 5;
    public const ulong SymbolTable = 6;
    public const ulong Rela = 7;
    public const ulong RelaSize = 8;
    public const ulong Rel = 17;
    public const ulong RelSize = 18;
    public const ulong PltRelocationsKind = 20;
    public const ulong PltRelocations = 23;
    public const ulong SymbolVersions = 0x6ffffff0;
    public const ulong VersionDefinitions = 0x6ffffffc;
    public const ulong VersionDefinitionsCount = 0x6ffffffd;
    public const ulong VersionNeeds = 0x6ffffffe;
    public const ulong VersionNeedsCount = 0x6fffffff;
}
