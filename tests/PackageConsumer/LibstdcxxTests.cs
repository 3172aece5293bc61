using Influence.Build.Tests;
using Xunit;

namespace PackageConsumer;

/// <summary>
/// What the package does in a user's build where libstdc++ is older than TorchSharp's native library asks for. Which
/// versions libstdc++ has is told to the build, so that the tests ask the same on every machine with Linux and x64.
/// </summary>
public sealed class LibstdcxxTests : IDisposable
{
    private const string Property = "InfluenceFixLibstdcxx";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("influence-");

    [Theory]
    [InlineData(AppKind.ForOneRuntime)]
    [InlineData(AppKind.Portable)]
    [InlineData(AppKind.OneFile)]
    public void The_build_warns_until_the_property_is_set_and_then_the_app_runs(AppKind kind)
    {
        using var app = new UserApp(kind, Libstdcxx(newest: 30));

        var warned = app.Build().Success();
        var original = File.ReadAllBytes(app.Native().FullName);
        app.Set(Property, "true");
        var corrected = app.Build().Success();

        Assert.Contains("warning INFLUENCE001", warned, StringComparison.Ordinal);
        Assert.Contains(Property, warned, StringComparison.Ordinal);
        Assert.DoesNotContain("INFLUENCE0", corrected, StringComparison.Ordinal);
        Assert.Contains("examples: 0 1 2", app.Run().Success(), StringComparison.Ordinal);
        var copy = File.ReadAllBytes(app.Native().FullName);
        Assert.Single(Enumerable.Range(0, original.Length), i => original[i] != copy[i]);
        Assert.Equal(original, OriginalBytes());
    }

    [Theory]
    [InlineData(AppKind.ForOneRuntime)]
    [InlineData(AppKind.Portable)]
    public void A_published_app_has_the_corrected_copy_and_names_the_same_files(AppKind kind)
    {
        using var app = new UserApp(kind, Libstdcxx(newest: 30));
        app.Set(Property, "true");

        var output = app.Publish().Success();

        Assert.DoesNotContain("INFLUENCE0", output, StringComparison.Ordinal);
        Assert.Contains("examples: 0 1 2", app.RunPublished().Success(), StringComparison.Ordinal);
        Assert.Contains(
            "\"runtimes/linux-x64/native/libLibTorchSharp.so\"",
            File.ReadAllText(app.At("published/app.deps.json")),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void A_second_build_copies_nothing_and_without_the_property_the_packages_file_comes_back()
    {
        using var app = new UserApp(AppKind.ForOneRuntime, Libstdcxx(newest: 30));
        app.Set(Property, "true");
        app.Build().Success();
        var time = app.Native().LastWriteTimeUtc;

        app.Build().Success();
        Assert.Equal(time, app.Native().LastWriteTimeUtc);

        app.Set(Property, "false");
        Assert.DoesNotContain("INFLUENCE0", app.Build().Success(), StringComparison.Ordinal);
        Assert.Equal(OriginalBytes(), File.ReadAllBytes(app.Native().FullName));
    }

    [Fact]
    public void Where_libstdcxx_is_new_the_build_says_and_changes_nothing()
    {
        using var app = new UserApp(AppKind.ForOneRuntime, Libstdcxx(newest: 33));

        Assert.DoesNotContain("INFLUENCE0", app.Build().Success(), StringComparison.Ordinal);

        app.Set(Property, "true");
        Assert.DoesNotContain("INFLUENCE0", app.Build().Success(), StringComparison.Ordinal);
        Assert.Equal(OriginalBytes(), File.ReadAllBytes(app.Native().FullName));
    }

    public void Dispose() => _folder.Delete(recursive: true);

    /// <summary>Makes a file that defines versions as libstdc++ does, up to GLIBCXX_3.4.n, and holds nothing else.</summary>
    private string Libstdcxx(int newest)
    {
        var versions = Enumerable
            .Range(1, newest)
            .Select(i => $"GLIBCXX_3.4.{i}")
            .Concat(Enumerable.Range(1, 13).Select(i => $"CXXABI_1.3.{i}"));
        var path = Path.Combine(_folder.FullName, $"libstdc++-{newest}.so.6");
        File.WriteAllBytes(path, new SmallElf().Defines(["GLIBCXX_3.4", "CXXABI_1.3", .. versions]).Build());
        return path;
    }

    private static byte[] OriginalBytes()
    {
        var file = $"torchsharp/{Package.TorchSharpVersion}/runtimes/linux-x64/native/libLibTorchSharp.so";
        var folders = new[] { Package.Setting("PackagesPath"), Package.Setting("FallbackFolders") };
        return File.ReadAllBytes(folders.Select(f => Path.Combine(f, file)).First(File.Exists));
    }
}
