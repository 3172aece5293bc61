namespace Influence.Build.Tests;

/// <summary>Makes files like those of the packages.</summary>
internal static class Samples
{
    public const string Old = "GLIBCXX_3.4.30";
    public const string New = "GLIBCXX_3.4.32";
    public const ushort OldIndex = 5;
    public const ushort NewIndex = 7;
    public const uint UsedSymbol = 1;
    public const uint Marker = 2;

    public static HashSet<string> Defined => ["GLIBCXX_3.4", Old];

    /// <summary>Needs a new version of libstdc++ for a symbol that no relocation names.</summary>
    public static SmallElf Native(ushort flags = 0) =>
        new SmallElf()
            .Needs(
                ("libc.so.6", "GLIBC_2.34", 3, 0),
                ("libc.so.6", "GLIBC_2.14", 4, 0),
                ("libstdc++.so.6", Old, OldIndex, 0),
                ("libstdc++.so.6", New, NewIndex, flags),
                ("libm.so.6", "GLIBC_2.2.5", 6, 0)
            )
            .Symbols(("_Znwm", OldIndex), ("_ZSt21ios_base_library_initv", NewIndex));

    public static byte[] NativeBytes => Native().Rela(UsedSymbol).Plt(DynamicTag.Rela, UsedSymbol, 0).Build();

    public static SmallElf Library(params string[] more) => new SmallElf().Defines(["libstdc++.so.6", .. Defined, .. more]);

    public static IReadOnlyList<VersionNeed> Missing(byte[] bytes) => WeakenVersions.Missing(new ElfFile(bytes), Libstdcxx.Name, Defined);
}
