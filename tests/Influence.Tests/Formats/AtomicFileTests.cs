using Influence.Formats;
using Influence.Tests.Oracles;
using Xunit;

namespace Influence.Tests.Formats;

public sealed class AtomicFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void MissingFoldersAreMade()
    {
        AtomicFile.Write(_folder.Path("a/b/c"), stream => stream.WriteByte(1));
        Assert.Equal([1], File.ReadAllBytes(_folder.Path("a/b/c")));
    }

    [Fact]
    public void AnOlderFileStaysUntilTheNewOneIsComplete()
    {
        File.WriteAllText(_folder.Path("f"), "old");
        AtomicFile.Write(_folder.Path("f"), stream =>
        {
            stream.Write("new"u8);
            stream.Flush();
            Assert.Equal("old", File.ReadAllText(_folder.Path("f")));
        });
        Assert.Equal("new", File.ReadAllText(_folder.Path("f")));
        Assert.Equal(["f"], _folder.Files);
    }

    [Fact]
    public void AnErrorHalfWayLeavesTheOlderFile()
    {
        File.WriteAllText(_folder.Path("f"), "old");
        Assert.Throws<InvalidTimeZoneException>(() => AtomicFile.Write(_folder.Path("f"), stream =>
        {
            stream.Write("ne"u8);
            throw new InvalidTimeZoneException();
        }));
        Assert.Equal("old", File.ReadAllText(_folder.Path("f")));
        Assert.Equal(["f"], _folder.Files);
    }

    /// <summary>The file beside the final one leads to a device that is always full.</summary>
    [Fact]
    public void AFullDiskLeavesTheOlderFile()
    {
        if (!File.Exists("/dev/full"))
        {
            return;
        }

        File.WriteAllText(_folder.Path("f"), "old");
        File.CreateSymbolicLink(_folder.Path($"f.{Environment.ProcessId}{AtomicFile.PartialSuffix}"), "/dev/full");

        var thrown = Assert.Throws<InfluenceException>(() => AtomicFile.Write(_folder.Path("f"), stream => stream.Write(new byte[100])));

        Assert.IsAssignableFrom<IOException>(thrown.InnerException);
        Assert.Contains(_folder.Path("f"), thrown.Message, StringComparison.Ordinal);
        Assert.Contains("free space", thrown.Message, StringComparison.Ordinal);
        Assert.Equal("old", File.ReadAllText(_folder.Path("f")));
        Assert.Equal(["f"], _folder.Files);
    }

    [Fact]
    public void APlaceThatCannotBeWritten()
    {
        File.WriteAllText(_folder.Path("file"), "not a folder");
        foreach (var path in new[] { _folder.Path("file/below"), "/proc/influence-tests/below" })
        {
            var thrown = Assert.Throws<InfluenceException>(() => AtomicFile.Write(path, stream => stream.WriteByte(1)));
            Assert.Contains($"Cannot write {path}", thrown.Message, StringComparison.Ordinal);
        }

        Directory.CreateDirectory(_folder.Path("folder"));
        Assert.Throws<InfluenceException>(() => AtomicFile.Write(_folder.Path("folder"), stream => stream.WriteByte(1)));
        Assert.Equal(["file"], _folder.Files);
    }
}
