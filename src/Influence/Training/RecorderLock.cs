namespace Influence.Training;

/// <summary>One recorder's hold on a folder: a file that is open, and locked, as long as the recorder lives. A process that dies lets go of
/// it.</summary>
internal sealed class RecorderLock : IDisposable
{
    private const string Name = "recorder.lock";
    private readonly FileStream _stream;

    private RecorderLock(FileStream stream) => _stream = stream;

    /// <summary>Takes hold of a folder, which is made when missing.</summary>
    /// <exception cref="InfluenceException">It cannot be written, or another recorder holds it.</exception>
    public static RecorderLock Take(string folder)
    {
        var path = Path.Combine(folder, Name);
        try
        {
            Directory.CreateDirectory(folder);
            return new RecorderLock(
                new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1, FileOptions.DeleteOnClose)
            );
        }
        catch (IOException exception) when (File.Exists(path))
        {
            throw new InfluenceException(
                $"Another recorder writes to {folder}, in this process or in another. Dispose it first (using var recorder = ...), or "
                    + "give each run a folder of its own.",
                exception
            );
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException(
                $"Cannot write to the folder {folder}: {exception.Message} Check its rights and the free space.",
                exception
            );
        }
    }

    public void Dispose() => _stream.Dispose();
}
