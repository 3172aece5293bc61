namespace Influence.Build;

/// <summary>Says that a file needs one version from a library: one `vernaux` entry of `.gnu.version_r`.</summary>
internal sealed class VersionNeed(string library, string version, ushort index, ulong flagsOffset, bool isWeak)
{
    public string Library { get; } = library;

    public string Version { get; } = version;

    /// <summary>Gets the number by which `.gnu.version` binds symbols to this version.</summary>
    public ushort Index { get; } = index;

    /// <summary>Gets the place of `vna_flags` in the file.</summary>
    public ulong FlagsOffset { get; } = flagsOffset;

    /// <summary>Gets whether the loader accepts a library that does not define the version.</summary>
    public bool IsWeak { get; } = isWeak;
}

/// <summary>Reads `.gnu.version_r`: which versions a file needs from which libraries.</summary>
internal static class VersionNeeds
{
    public const ushort Weak = 2;

    // Chains that overlap could make a damaged file endless to read; real files have a few dozen entries.
    private const int Most = 10_000;

    /// <exception cref="ElfException">The table is damaged.</exception>
    public static IReadOnlyList<VersionNeed> Read(ElfFile file)
    {
        var needs = new List<VersionNeed>();
        if (!file.TryGetDynamic(DynamicTag.VersionNeeds, out var address))
            return needs;
        if (!file.TryGetDynamic(DynamicTag.VersionNeedsCount, out var libraries))
            throw new ElfException("it does not say how many libraries it needs versions from");

        var at = file.OffsetOf(address);
        for (ulong i = 0; i < libraries; i++)
        {
            if (i >= Most)
                throw new ElfException("it needs versions from too many libraries");
            if (file.UInt16(at) != 1)
                throw new ElfException("its table of needed versions is of an unknown kind");
            ReadLibrary(file, at, needs);
            var next = file.UInt32(at + 12);
            if (next == 0)
                break;
            at += next;
        }
        return needs;
    }

    private static void ReadLibrary(ElfFile file, ulong at, List<VersionNeed> needs)
    {
        var count = file.UInt16(at + 2);
        var library = file.Name(file.UInt32(at + 4));
        var entry = at + file.UInt32(at + 8);
        for (var i = 0; i < count; i++)
        {
            if (needs.Count >= Most)
                throw new ElfException("it needs too many versions");
            var flags = file.UInt16(entry + 4);
            var index = (ushort)(file.UInt16(entry + 6) & SymbolVersion.IndexMask);
            needs.Add(new(library, file.Name(file.UInt32(entry + 8)), index, entry + 4, (flags & Weak) != 0));
            var next = file.UInt32(entry + 12);
            if (next == 0)
                break;
            entry += next;
        }
    }
}
