namespace Influence.Build;

/// <summary>Reads `.gnu.version_d`: which versions a library defines.</summary>
internal static class VersionDefinitions
{
    private const int Most = 10_000;

    /// <exception cref="ElfException">The table is damaged.</exception>
    public static HashSet<string> Read(ElfFile file)
    {
        var versions = new HashSet<string>(StringComparer.Ordinal);
        if (!file.TryGetDynamic(DynamicTag.VersionDefinitions, out var address))
            return versions;
        if (!file.TryGetDynamic(DynamicTag.VersionDefinitionsCount, out var count))
            throw new ElfException("it does not say how many versions it defines");

        var at = file.OffsetOf(address);
        for (ulong i = 0; i < count; i++)
        {
            if (i >= Most)
                throw new ElfException("it defines too many versions");
            if (file.UInt16(at) != 1)
                throw new ElfException("its table of versions is of an unknown kind");
            // The first name is the version's own; those after it are the versions that it follows.
            versions.Add(file.Name(file.UInt32(at + file.UInt32(at + 12))));
            var next = file.UInt32(at + 16);
            if (next == 0)
                break;
            at += next;
        }
        return versions;
    }
}
