namespace Influence.Formats;

/// <summary>
/// A lock that processes on one machine share, and that ends with its owner, however that ends. Where the file system has
/// none, two processes may do one unit twice; both then record the same.
/// </summary>
internal sealed class FolderLock : IDisposable
{
    private const string Name = "lock";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private readonly FileStream _stream;

    private FolderLock(FileStream stream) => _stream = stream;

    /// <summary>Waits for the lock of a folder, which is made when missing.</summary>
    /// <exception cref="InfluenceException">The folder cannot be written, or another process does not let go of it.</exception>
    public static FolderLock Take(string folder)
    {
        var since = DateTime.UtcNow;
        while (true)
        {
            try
            {
                Directory.CreateDirectory(folder);
                return new FolderLock(
                    new FileStream(Path.Combine(folder, Name), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1)
                );
            }
            catch (IOException) when (DateTime.UtcNow - since < s_patience && Directory.Exists(folder))
            {
                Thread.Sleep(10);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw new InfluenceException(
                    $"Cannot write to the folder {folder}: {exception.Message} Check its rights and the free space.",
                    exception
                );
            }
        }
    }

    /// <summary>The time by the clock that the folder's files get theirs from; on a shared disk that is not this machine's.</summary>
    public DateTime Now()
    {
        _stream.Position = 0;
        _stream.WriteByte((byte)'\n');
        _stream.Flush();
        return File.GetLastWriteTimeUtc(_stream.SafeFileHandle);
    }

    public void Dispose() => _stream.Dispose();
}
