using Influence.Formats;
using Influence.Tests.Oracles;
using Xunit;

namespace Influence.Tests.Formats;

public sealed class FolderSizeTests
{
    /// <summary>Another process removes files while they are counted, ten thousand times.</summary>
    [Fact]
    public void FilesMayGoWhileTheyAreCounted()
    {
        using var folder = new TempFolder();
        File.WriteAllBytes(folder.Path("stays.bin"), new byte[7]);
        using var stop = new CancellationTokenSource();
        var other = new Thread(() =>
        {
            for (var k = 0; !stop.IsCancellationRequested; k++)
            {
                var path = folder.Path($"goes-{k % 20}.bin");
                File.WriteAllBytes(path, new byte[100]);
                File.Delete(path);
            }
        });
        other.Start();
        try
        {
            for (var k = 0; k < 10_000; k++)
            {
                Assert.True(FolderSize.Of(folder.Path("."), "*.bin") >= 7);
            }
        }
        finally
        {
            stop.Cancel();
            other.Join();
        }

        Assert.Equal(7, FolderSize.Of(folder.Path("."), "*.bin"));
    }
}
