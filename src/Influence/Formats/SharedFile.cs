using System.Diagnostics;
using System.Security.Cryptography;

namespace Influence.Formats;

/// <summary>
/// Reads files that other threads and processes write. Who writes or tidies a file holds its lock until shortly after it has its final
/// name, so one that is there may not be readable for a moment: it is tried again, and only what stays locked is an error.
/// </summary>
internal static class SharedFile
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(2);

    /// <summary>Opens a file to read; the caller owns the stream.</summary>
    /// <param name="path">The file.</param>
    /// <param name="bufferSize">The stream's buffer, in bytes.</param>
    /// <exception cref="IOException">It is missing, or somebody holds it for longer than a writer does.</exception>
    public static FileStream OpenRead(string path, int bufferSize = 1 << 16)
    {
        var since = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize);
            }
            catch (IOException exception) when (IsLocked(exception) && Stopwatch.GetElapsedTime(since) < s_patience)
            {
                Thread.Sleep(s_pause);
            }
        }
    }

    /// <summary>A whole file's bytes.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">As for <see cref="OpenRead"/>.</exception>
    public static byte[] ReadAllBytes(string path)
    {
        using var stream = OpenRead(path, bufferSize: 1);
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }

    /// <summary>A whole file's SHA-256.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InfluenceException">It cannot be read.</exception>
    public static byte[] HashOf(string path)
    {
        try
        {
            using var stream = OpenRead(path);
            return SHA256.HashData(stream);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException($"Cannot read {path}: {exception.Message}", exception);
        }
    }

    private static bool IsLocked(IOException exception)
    {
        const int LinuxWouldBlock = 11; // EWOULDBLOCK
        const int MacWouldBlock = 35;
        const int WindowsSharingViolation = unchecked((int)0x80070020);
        return exception.HResult is LinuxWouldBlock or MacWouldBlock or WindowsSharingViolation;
    }
}
