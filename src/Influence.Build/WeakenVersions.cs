namespace Influence.Build;

/// <summary>
/// Makes the loader accept a library that lacks versions which a file needs: sets the flag VER_FLG_WEAK of their entries.
/// That is safe only where the loader resolves no symbol of those versions, because such a symbol would be missing later
/// instead of now.
/// </summary>
internal static class WeakenVersions
{
    /// <summary>Gives the versions that a file needs from a library and that the library does not define.</summary>
    public static IReadOnlyList<VersionNeed> Missing(ElfFile file, string library, ISet<string> defined) =>
        [.. VersionNeeds.Read(file).Where(n => n.Library == library && !n.IsWeak && !defined.Contains(n.Version))];

    /// <summary>Says why versions cannot be weakened, or gives null where they can.</summary>
    public static string? Obstacle(ElfFile file, IReadOnlyCollection<VersionNeed> needs)
    {
        var versions = new SymbolVersion(file);
        var byIndex = needs.ToLookup(n => n.Index);
        foreach (var symbol in Relocations.Symbols(file))
        {
            var need = byIndex[versions.IndexOf(symbol)].FirstOrDefault();
            if (need is not null)
                return $"it uses the symbol {versions.NameOf(symbol)} of {need.Version}";
        }
        return null;
    }

    /// <summary>Gives a copy of a file's bytes that differs in the flags of the versions alone.</summary>
    public static byte[] Apply(byte[] bytes, IEnumerable<VersionNeed> needs)
    {
        var corrected = (byte[])bytes.Clone();
        foreach (var need in needs)
            corrected[need.FlagsOffset] |= (byte)VersionNeeds.Weak;
        return corrected;
    }
}
