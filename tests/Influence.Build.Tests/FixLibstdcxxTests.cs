using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;
using Xunit;

namespace Influence.Build.Tests;

/// <summary>What the task says and leaves.</summary>
public sealed class FixLibstdcxxTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly RecordingEngine _engine = new();
    private readonly string _native;

    public FixLibstdcxxTests() => _native = _folder.Write("package/libLibTorchSharp.so", Samples.NativeBytes);

    [Fact]
    public void Without_the_property_it_warns_and_names_the_property()
    {
        var task = Run(fix: false);

        var warning = Assert.Single(_engine.Warnings);
        Assert.Equal("INFLUENCE001", warning.Code);
        Assert.Equal("app.csproj", warning.File);
        Assert.Contains("GLIBCXX_3.4.32", warning.Message, StringComparison.Ordinal);
        Assert.Contains("InfluenceFixLibstdcxx", warning.Message, StringComparison.Ordinal);
        Assert.Empty(task.Corrected);
        Assert.False(Directory.Exists(_folder.At("obj")));
    }

    [Fact]
    public void With_the_property_it_gives_a_corrected_copy_with_the_metadata()
    {
        var task = Run(fix: true);

        var corrected = Assert.Single(task.Corrected);
        Assert.Equal("runtimes/linux-x64/native/", corrected.GetMetadata("DestinationSubDirectory"));
        Assert.Equal(_native, Assert.Single(task.Originals).ItemSpec);
        Assert.Empty(Samples.Missing(File.ReadAllBytes(corrected.ItemSpec)));
        Assert.Equal(Samples.NativeBytes, File.ReadAllBytes(_native));
        Assert.Empty(_engine.Warnings);
    }

    [Fact]
    public void A_second_run_gives_the_same_copy_and_does_not_write_it()
    {
        var copy = Run(fix: true).Corrected[0].ItemSpec;
        var time = new DateTime(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(copy, time);

        Assert.Equal(copy, Run(fix: true).Corrected[0].ItemSpec);

        Assert.Equal(time, File.GetLastWriteTimeUtc(copy));
    }

    [Fact]
    public void Another_file_in_the_packages_place_gives_another_copy()
    {
        Run(fix: true);
        _folder.Write("package/libLibTorchSharp.so", Samples.Native().Rela(1, 1, 1).Build());

        var copy = Run(fix: true).Corrected[0].ItemSpec;

        Assert.Equal(Samples.Native(VersionNeeds.Weak).Rela(1, 1, 1).Build(), File.ReadAllBytes(copy));
        Assert.Equal([copy], Directory.GetFiles(_folder.At("obj")));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_new_libstdcxx_leaves_nothing_to_say_or_do(bool fix)
    {
        var task = Run(fix, Samples.New);

        Assert.Empty(_engine.Warnings);
        Assert.Empty(task.Corrected);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_file_that_uses_the_version_is_left_alone_and_the_warning_says_why(bool fix)
    {
        _folder.Write("package/libLibTorchSharp.so", Samples.Native().Rela(Samples.Marker).Build());

        Assert.Empty(Run(fix).Corrected);

        var warning = Assert.Single(_engine.Warnings);
        Assert.Equal("INFLUENCE002", warning.Code);
        Assert.Contains("_ZSt21ios_base_library_initv", warning.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_file_is_left_alone_and_the_warning_says_why()
    {
        _folder.Write("package/libLibTorchSharp.so", Samples.NativeBytes[..300]);

        Assert.Empty(Run(fix: true).Corrected);

        Assert.Contains("the file ends too early", Assert.Single(_engine.Warnings).Message, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    private FixLibstdcxx Run(bool fix, params string[] moreVersions)
    {
        var item = new TaskItem(_native);
        item.SetMetadata("DestinationSubDirectory", "runtimes/linux-x64/native/");
        var task = new FixLibstdcxx
        {
            BuildEngine = _engine,
            Files = [item],
            Fix = fix,
            Folder = _folder.At("obj"),
            Libstdcxx = _folder.Write("lib/libstdc++.so.6", Samples.Library(moreVersions).Build()),
            Project = "app.csproj",
        };
        Assert.True(task.Execute());
        return task;
    }

    private sealed class RecordingEngine : IBuildEngine
    {
        public List<BuildWarningEventArgs> Warnings { get; } = [];

        public bool ContinueOnError => false;

        public int LineNumberOfTaskNode => 0;

        public int ColumnNumberOfTaskNode => 0;

        public string ProjectFileOfTaskNode => "";

        public void LogWarningEvent(BuildWarningEventArgs e) => Warnings.Add(e);

        public void LogErrorEvent(BuildErrorEventArgs e) => Assert.Fail(e.Message);

        public void LogMessageEvent(BuildMessageEventArgs e) { }

        public void LogCustomEvent(CustomBuildEventArgs e) { }

        public bool BuildProjectFile(
            string projectFileName,
            string[] targetNames,
            System.Collections.IDictionary globalProperties,
            System.Collections.IDictionary targetOutputs
        ) => throw new NotSupportedException();
    }
}
