using Xunit;

namespace Influence.Build.Tests;

/// <summary>Which libstdc++ an app would load.</summary>
public sealed class LibstdcxxTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void The_search_path_comes_first()
    {
        var first = _folder.Write("first/libstdc++.so.6", Samples.Library("GLIBCXX_9").Build());
        var second = _folder.Write("second/libstdc++.so.6", Samples.Library().Build());

        var found = Libstdcxx.Find($"/no-such-folder::{Folder(first)}:{Folder(second)}", [$"7f-8f r--p 0 fe:00 1  {second}"]);

        Assert.Equal(first, found?.Path);
        Assert.Contains("GLIBCXX_9", found!.Value.Versions);
    }

    [Fact]
    public void What_the_process_has_loaded_comes_next()
    {
        var loaded = _folder.Write("a folder/libstdc++.so.6.0.30", Samples.Library().Build());

        var found = Libstdcxx.Find(null, ["7f-8f r--p 0 00:00 0", "7f-8f r--p 0 00:00 0  [heap]", $"7f-8f r--p 0 fe:00 1  {loaded}"]);

        Assert.Equal(loaded, found?.Path);
    }

    [Fact]
    public void A_library_for_another_machine_is_passed_over()
    {
        var other = _folder.Write(
            "other/libstdc++.so.6",
            new SmallElf { Machine = 183 }
                .Defines("GLIBCXX_9")
                .Build()
        );
        var own = _folder.Write("own/libstdc++.so.6", Samples.Library().Build());

        Assert.Equal(own, Libstdcxx.Find($"{Folder(other)}:{Folder(own)}", [])?.Path);
    }

    [Fact]
    public void The_versions_are_those_that_the_library_defines() =>
        Assert.Equal(
            ["GLIBCXX_3.4", "GLIBCXX_3.4.30", "libstdc++.so.6"],
            VersionDefinitions.Read(new ElfFile(Samples.Library().Build())).Order(StringComparer.Ordinal)
        );

    public void Dispose() => _folder.Dispose();

    private static string Folder(string file) => Path.GetDirectoryName(file)!;
}
