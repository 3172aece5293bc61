using System.Runtime.Versioning;
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
        AtomicFile.Write(
            _folder.Path("f"),
            stream =>
            {
                stream.Write("new"u8);
                stream.Flush();
                Assert.Equal("old", File.ReadAllText(_folder.Path("f")));
            }
        );
        Assert.Equal("new", File.ReadAllText(_folder.Path("f")));
        Assert.Equal(["f"], _folder.Files);
    }

    [Fact]
    public void AnErrorHalfWayLeavesTheOlderFile()
    {
        File.WriteAllText(_folder.Path("f"), "old");
        Assert.Throws<InvalidTimeZoneException>(() =>
            AtomicFile.Write(
                _folder.Path("f"),
                stream =>
                {
                    stream.Write("ne"u8);
                    throw new InvalidTimeZoneException();
                }
            )
        );
        Assert.Equal("old", File.ReadAllText(_folder.Path("f")));
        Assert.Equal(["f"], _folder.Files);
    }

    [Fact]
    public void AFullDiskLeavesTheOlderFile()
    {
        File.WriteAllText(_folder.Path("f"), "old");

        var thrown = Assert.Throws<InfluenceException>(() =>
            AtomicFile.Write(
                _folder.Path("f"),
                stream =>
                {
                    stream.Write(new byte[100]);
                    throw new IOException("No space left on device.");
                }
            )
        );

        Assert.IsAssignableFrom<IOException>(thrown.InnerException);
        Assert.Contains(_folder.Path("f"), thrown.Message, StringComparison.Ordinal);
        Assert.Contains("free space", thrown.Message, StringComparison.Ordinal);
        Assert.Equal("old", File.ReadAllText(_folder.Path("f")));
        Assert.Equal(["f"], _folder.Files);
    }

    /// <summary>While it is written it has a random name, so that nobody can plant a link there, and rights that are not wider than the
    /// older file's.</summary>
    [Fact]
    [UnsupportedOSPlatform("windows")]
    public void RightsOfAnOlderFileAreKept()
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        const UnixFileMode Secret = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        File.WriteAllText(_folder.Path("f"), "old");
        File.SetUnixFileMode(_folder.Path("f"), Secret);
        AtomicFile.Write(
            _folder.Path("f"),
            stream =>
            {
                var partial = Assert.Single(Directory.EnumerateFiles(_folder.FullName, "*.partial"));
                Assert.Matches("^influence-[0-9a-f]{32}[.]partial$", Path.GetFileName(partial));
                Assert.Equal(Secret, File.GetUnixFileMode(partial));
                stream.WriteByte(1);
            }
        );
        Assert.Equal(Secret, File.GetUnixFileMode(_folder.Path("f")));

        const UnixFileMode Wide =
            Secret | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.UserExecute;
        File.SetUnixFileMode(_folder.Path("f"), Wide);
        AtomicFile.Write(_folder.Path("f"), stream => stream.WriteByte(2));
        Assert.Equal(Wide, File.GetUnixFileMode(_folder.Path("f")));
    }

    /// <summary>A link stays one, over a chain of links and into another folder; one that leads nowhere gets its file.</summary>
    [Fact]
    public void ALinkAtTheFinalNameIsFollowed()
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        Directory.CreateDirectory(_folder.Path("data"));
        File.WriteAllText(_folder.Path("data/f"), "old");
        File.CreateSymbolicLink(_folder.Path("second"), "data/f");
        File.CreateSymbolicLink(_folder.Path("first"), "second");
        File.CreateSymbolicLink(_folder.Path("dangling"), "data/new");
        AtomicFile.Write(_folder.Path("first"), stream => stream.Write("new"u8));
        AtomicFile.Write(_folder.Path("dangling"), stream => stream.Write("made"u8));

        Assert.Equal("second", new FileInfo(_folder.Path("first")).LinkTarget);
        Assert.Equal("new", File.ReadAllText(_folder.Path("data/f")));
        Assert.Equal("made", File.ReadAllText(_folder.Path("data/new")));
        Assert.Equal(2, Directory.GetFiles(_folder.Path("data")).Length);

        File.CreateSymbolicLink(_folder.Path("loop"), "loop");
        Assert.Throws<InfluenceException>(() => AtomicFile.Write(_folder.Path("loop"), stream => stream.WriteByte(1)));
        File.CreateSymbolicLink(_folder.Path("device"), "/dev/null");
        Assert.Contains(
            "device",
            Assert.Throws<InfluenceException>(() => AtomicFile.Write(_folder.Path("device"), stream => stream.WriteByte(1))).Message,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData(255, true)]
    [InlineData(241, true)]
    [InlineData(256, false)]
    public void NamesAsLongAsTheSystemTakes(int length, bool works)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        var name = new string('n', length);
        if (works)
        {
            AtomicFile.Write(_folder.Path(name), stream => stream.WriteByte(1));
            AtomicFile.Write(_folder.Path(name), stream => stream.WriteByte(1));
            Assert.Equal([name], _folder.Files);
        }
        else
        {
            Assert.Throws<InfluenceException>(() => AtomicFile.Write(_folder.Path(name), stream => stream.WriteByte(1)));
            Assert.Empty(_folder.Files);
        }
    }

    /// <summary>What nobody holds was left by a process that died; what is being written, and what looks alike, stays.</summary>
    [Fact]
    public void PartsOfDeadProcessesGo()
    {
        var dead = $"influence-{new string('a', 32)}.partial";
        File.WriteAllText(_folder.Path(dead), "half");
        File.WriteAllText(_folder.Path("f.4711.partial"), "half, of an earlier version");
        File.WriteAllText(_folder.Path("g.4711.partial"), "another program's");
        File.WriteAllText(_folder.Path("influence-notes.partial"), "somebody's notes");
        AtomicFile.Write(
            _folder.Path("f"),
            _ =>
                AtomicFile.Write(
                    _folder.Path("other"),
                    _ =>
                        Assert.Equal(
                            2,
                            Directory
                                .GetFiles(_folder.FullName, "influence-*.partial")
                                .Count(path => Path.GetFileName(path).Length == dead.Length)
                        )
                )
        );
        Assert.Equal(["f", "g.4711.partial", "influence-notes.partial", "other"], _folder.Files);

        File.WriteAllText(_folder.Path(dead), "half");
        PartialFile.Sweep(_folder.FullName);
        Assert.Equal(["f", "g.4711.partial", "influence-notes.partial", "other"], _folder.Files);
    }

    [Fact]
    public void AFileThatIsThereIsNotCreatedAgain()
    {
        Assert.True(AtomicFile.TryCreate(_folder.Path("f"), stream => stream.WriteByte(1)));
        Assert.False(AtomicFile.TryCreate(_folder.Path("f"), stream => stream.WriteByte(2)));
        Assert.Equal([1], File.ReadAllBytes(_folder.Path("f")));
        Assert.Equal(["f"], _folder.Files);
    }

    /// <summary>
    /// The name is taken when the file is to be placed and free a moment later, as with a claim whose run ends meanwhile. Looking
    /// whether it is there, in place of at the error, ended about one of a thousand such calls with "Could not find file"; and a rename
    /// after a look lets two have one name.
    /// </summary>
    [Fact]
    public void ANameThatIsFreedWhileAnotherWantsIt()
    {
        var path = _folder.Path("claim");
        var errors = new System.Collections.Concurrent.ConcurrentQueue<Exception>();
        var (placed, holders) = (0, 0);
        var workers = Enumerable
            .Range(0, 4)
            .Select(_ => new Thread(() =>
            {
                try
                {
                    for (var i = 0; i < 500; i++)
                    {
                        if (AtomicFile.TryCreate(path, stream => stream.WriteByte(1)))
                        {
                            Interlocked.Increment(ref placed);
                            Assert.Equal(1, Interlocked.Increment(ref holders));
                            Interlocked.Decrement(ref holders);
                            File.Delete(path);
                        }
                    }
                }
                catch (Exception exception)
                {
                    errors.Enqueue(exception);
                }
            }))
            .ToArray();
        Array.ForEach(workers, worker => worker.Start());
        Array.ForEach(workers, worker => worker.Join());
        Assert.Empty(errors);
        Assert.InRange(placed, 1, 2000);
        Assert.Empty(_folder.Files);
    }

    /// <summary>A writer holds its file for a moment after the rename; a reader that gave up then would do finished work again.</summary>
    [Fact]
    public void AFileThatItsWriterStillHoldsIsReadAMomentLater()
    {
        File.WriteAllBytes(_folder.Path("f"), [1, 2, 3]);
        using var held = new FileStream(_folder.Path("f"), FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        Assert.Throws<IOException>(() => File.ReadAllBytes(_folder.Path("f")));
        var release = new Thread(() =>
        {
            Thread.Sleep(50);
            held.Dispose();
        });
        release.Start();
        Assert.Equal([1, 2, 3], SharedFile.ReadAllBytes(_folder.Path("f")));
        release.Join();
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
        Assert.Throws<InfluenceException>(() => AtomicFile.Write("/", stream => stream.WriteByte(1)));
        Assert.Throws<InfluenceException>(() => AtomicFile.Write(_folder.Path("a\0b"), stream => stream.WriteByte(1)));
        Assert.Equal(["file"], _folder.Files);
    }
}
