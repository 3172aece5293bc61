using Xunit;

namespace Influence.Build.Tests;

/// <summary>Which versions are weakened, and that nothing else changes.</summary>
public class WeakenVersionsTests
{
    [Fact]
    public void A_version_that_the_library_lacks_is_missing()
    {
        var need = Assert.Single(Samples.Missing(Samples.NativeBytes));

        Assert.Equal(("libstdc++.so.6", Samples.New, Samples.NewIndex, false), (need.Library, need.Version, need.Index, need.IsWeak));
    }

    [Fact]
    public void A_library_that_defines_the_version_leaves_nothing_missing() =>
        Assert.Empty(
            WeakenVersions.Missing(
                new ElfFile(Samples.NativeBytes),
                Libstdcxx.Name,
                VersionDefinitions.Read(new ElfFile(Samples.Library(Samples.New).Build()))
            )
        );

    [Fact]
    public void A_file_without_needed_versions_misses_none() => Assert.Empty(Samples.Missing(new SmallElf().Symbols(("f", 1)).Build()));

    [Fact]
    public void Versions_of_other_libraries_play_no_part() =>
        Assert.Empty(Samples.Missing(new SmallElf().Needs(("libc.so.6", Samples.New, 2, 0)).Build()));

    [Fact]
    public void Weakening_sets_one_flag_and_changes_no_other_byte()
    {
        var bytes = Samples.NativeBytes;
        var missing = Samples.Missing(bytes);

        var corrected = WeakenVersions.Apply(bytes, missing);

        var changed = Assert.Single(Enumerable.Range(0, bytes.Length), i => bytes[i] != corrected[i]);
        Assert.Equal(missing[0].FlagsOffset, (ulong)changed);
        Assert.Equal(VersionNeeds.Weak, corrected[changed]);
        Assert.Equal(Samples.Native(VersionNeeds.Weak).Rela(1).Plt(DynamicTag.Rela, 1, 0).Build(), corrected);
    }

    [Fact]
    public void What_is_weak_already_is_not_missing() =>
        Assert.Empty(Samples.Missing(WeakenVersions.Apply(Samples.NativeBytes, Samples.Missing(Samples.NativeBytes))));

    [Fact]
    public void Other_flags_stay()
    {
        var bytes = Samples.Native(flags: 1).Rela().Build();

        var need = VersionNeeds.Read(new ElfFile(WeakenVersions.Apply(bytes, Samples.Missing(bytes)))).Single(n => n.IsWeak);

        Assert.Equal(Samples.New, need.Version);
    }

    [Fact]
    public void A_symbol_that_nothing_uses_is_no_obstacle() => Assert.Null(Obstacle(Samples.NativeBytes));

    [Fact]
    public void A_file_without_relocations_has_no_obstacle() => Assert.Null(Obstacle(Samples.Native().Build()));

    [Theory]
    [InlineData("rela")]
    [InlineData("rel")]
    [InlineData("rela.plt")]
    [InlineData("rel.plt")]
    public void A_relocation_that_names_the_symbol_is_an_obstacle(string table)
    {
        uint[] symbols = [Samples.UsedSymbol, Samples.UsedSymbol, Samples.Marker];
        var file = table switch
        {
            "rela" => Samples.Native().Rela(symbols),
            "rel" => Samples.Native().Rel(symbols),
            "rela.plt" => Samples.Native().Rela(Samples.UsedSymbol).Plt(DynamicTag.Rela, symbols),
            _ => Samples.Native().Rela(Samples.UsedSymbol).Plt(DynamicTag.Rel, symbols),
        };

        var obstacle = Obstacle(file.Build());

        Assert.Equal("it uses the symbol _ZSt21ios_base_library_initv of GLIBCXX_3.4.32", obstacle);
    }

    [Fact]
    public void A_hidden_version_is_the_same_version()
    {
        var file = new SmallElf()
            .Needs(("libstdc++.so.6", Samples.New, Samples.NewIndex, 0))
            .Symbols(("f", Samples.NewIndex | 0x8000))
            .Rela(1);

        Assert.NotNull(Obstacle(file.Build()));
    }

    private static string? Obstacle(byte[] bytes) => WeakenVersions.Obstacle(new ElfFile(bytes), Samples.Missing(bytes));
}
