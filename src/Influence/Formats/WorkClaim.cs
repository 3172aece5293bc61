using System.Diagnostics;
using System.Text.Json;

namespace Influence.Formats;

/// <summary>
/// One process's lease on a unit of work: a file with a random token, written in one step, whose time its owner renews. It is stale when
/// its process is gone for certain, or when its time is not around now by the clock of the folder; what cannot be read is nobody's, as no
/// claim is ever there half written.
/// </summary>
internal sealed class WorkClaim : IDisposable
{
    private readonly string _path;
    private readonly byte[] _content;
    private readonly ManualResetEventSlim _stop = new();
    private readonly Thread _heartbeat;

    private WorkClaim(string path, byte[] content, TimeSpan staleAfter)
    {
        (_path, _content) = (path, content);

        // A thread of its own: the work may keep the pool's busy for longer than a claim lives.
        _heartbeat = new Thread(() =>
        {
            while (!_stop.Wait(staleAfter / 6) && Beat()) { }
        })
        {
            IsBackground = true,
            Name = "heartbeat of a claim",
        };
        _heartbeat.Start();
    }

    /// <summary>Claims a unit, or returns null when another process has it.</summary>
    /// <param name="path">The claim's file.</param>
    /// <param name="staleAfter">The age at which a claim without a heartbeat counts no more.</param>
    public static WorkClaim? TryTake(string path, TimeSpan staleAfter)
    {
        var content = JsonSerializer.SerializeToUtf8Bytes(ClaimOwner.Draw());
        if (File.Exists(path))
        {
            if (!IsStale(path, staleAfter, DateTime.UtcNow))
            {
                return null;
            }

            // Under the lock, so that of several that find it stale one takes it; and by the folder's clock, as this machine's may be off.
            using var folder = FolderLock.Take(Path.GetDirectoryName(path)!);
            if (File.Exists(path))
            {
                if (!IsStale(path, staleAfter, folder.Now()))
                {
                    return null;
                }

                // In one step: there is no moment without a claim. Where the file system has no locks, the last one's stays.
                AtomicFile.Write(path, stream => stream.Write(content));
                return Holds(path, content) ? new WorkClaim(path, content, staleAfter) : null;
            }
        }

        return AtomicFile.TryCreate(path, stream => stream.Write(content)) ? new WorkClaim(path, content, staleAfter) : null;
    }

    /// <summary>Looks for as long as it takes to tell: whether a claim's owner lives. False when it is gone, or shows no sign of
    /// life.</summary>
    /// <param name="path">The claim's file.</param>
    /// <param name="staleAfter">The age at which a claim without a heartbeat counts no more.</param>
    /// <param name="token">Ends the look.</param>
    public static bool Watch(string path, TimeSpan staleAfter, CancellationToken token)
    {
        var since = Stopwatch.GetTimestamp();
        DateTime? first = null;
        while (true)
        {
            token.ThrowIfCancellationRequested();
            try
            {
                if (!File.Exists(path) || Read(path) is not { } owner || owner.IsGone())
                {
                    return false;
                }

                var written = File.GetLastWriteTimeUtc(path);
                first ??= written;
                if (written != first || owner.IsHere())
                {
                    return true;
                }
            }
            catch (FileNotFoundException)
            {
                return false;
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                // Not to be read just now.
                _ = exception;
            }

            if (Stopwatch.GetElapsedTime(since) > staleAfter)
            {
                return false;
            }

            token.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(50));
        }
    }

    /// <summary>A claim's owner in words.</summary>
    public static string OwnerOf(string path)
    {
        try
        {
            return Read(path) is { } owner
                ? FormattableString.Invariant($"process {owner.Process} on {PlainText.Name(owner.Machine)}")
                : "gone by now";
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _ = exception;
            return "gone by now";
        }
    }

    public void Dispose()
    {
        _stop.Set();
        _heartbeat.Join();
        _stop.Dispose();
        try
        {
            if (Holds(_path, _content))
            {
                File.Delete(_path);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // It goes stale with this process; the unit itself is recorded or not, whatever becomes of its claim.
            _ = exception;
        }
    }

    /// <summary>Writes the same bytes again, so that the file's time is the file system's; false once the claim is another's.</summary>
    private bool Beat()
    {
        try
        {
            using var stream = new FileStream(
                _path,
                FileMode.Open,
                FileAccess.ReadWrite,
                FileShare.ReadWrite | FileShare.Delete,
                bufferSize: 1
            );
            var found = new byte[_content.Length];
            if (
                stream.Length != found.Length
                || stream.ReadAtLeast(found, found.Length, throwOnEndOfStream: false) != found.Length
                || !found.AsSpan().SequenceEqual(_content)
            )
            {
                return false;
            }

            stream.Position = 0;
            stream.Write(_content);
            return true;
        }
        catch (FileNotFoundException)
        {
            return false;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A beat missed is a claim that may be taken over: the unit is then done twice, with one result.
            _ = exception;
            return true;
        }
    }

    private static bool IsStale(string path, TimeSpan staleAfter, DateTime now)
    {
        try
        {
            // A claim that is gone meanwhile is nobody's either.
            return !File.Exists(path)
                || Read(path) is not { } owner
                || owner.IsGone()
                || (now - File.GetLastWriteTimeUtc(path)).Duration() > staleAfter;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _ = exception;
            return false;
        }
    }

    private static bool Holds(string path, byte[] content)
    {
        try
        {
            return ReadAll(path).AsSpan().SequenceEqual(content);
        }
        catch (FileNotFoundException)
        {
            return false;
        }
    }

    /// <summary>The owner; null for what is no claim, as an empty file of a process that died or of an earlier version.</summary>
    private static ClaimOwner? Read(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<ClaimOwner>(ReadAll(path)) is { Machine: not null, Process: > 0 } owner ? owner : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>A claim is some hundred bytes; of anything longer the beginning is enough to see that it is none.</summary>
    private static byte[] ReadAll(string path)
    {
        using var stream = SharedFile.OpenRead(path, bufferSize: 1);
        var content = new byte[Math.Min(stream.Length, 1 << 16)];
        stream.ReadExactly(content);
        return content;
    }
}
