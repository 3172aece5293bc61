using System.ComponentModel;
using System.Diagnostics;
using System.Text.Json;

namespace Influence.Evaluation;

/// <summary>
/// One process's word that it is at a run: a file that only one can make. It is stale when its process is gone (on this
/// machine, by number and start time) or when its heartbeat, the file's time, has stopped.
/// </summary>
internal sealed class RunClaim : IDisposable
{
    /// <summary>Start times are read from clocks that differ by rounding.</summary>
    private static readonly TimeSpan s_sameStart = TimeSpan.FromSeconds(3);

    private readonly string _path;
    private readonly Timer _heartbeat;

    private RunClaim(string path, TimeSpan staleAfter)
    {
        _path = path;
        _heartbeat = new Timer(_ => Beat(), null, staleAfter / 6, staleAfter / 6);
    }

    /// <summary>Claims a run, or returns null when another process has it.</summary>
    /// <param name="path">The claim's file.</param>
    /// <param name="staleAfter">The age at which a claim without a heartbeat counts no more.</param>
    public static RunClaim? TryTake(string path, TimeSpan staleAfter)
    {
        if (TryCreate(path))
        {
            return new RunClaim(path, staleAfter);
        }

        if (!IsStale(path, staleAfter))
        {
            return null;
        }

        // Under the lock, so that nobody deletes the claim that another has just put in a stale one's place.
        using (FolderLock.Take(Path.GetDirectoryName(path)!))
        {
            if (!IsStale(path, staleAfter))
            {
                return null;
            }

            File.Delete(path);
            return TryCreate(path) ? new RunClaim(path, staleAfter) : null;
        }
    }

    public void Dispose()
    {
        using var stopped = new ManualResetEvent(initialState: false);
        _heartbeat.Dispose(stopped);
        stopped.WaitOne();
        try
        {
            if (Read(_path) is { } owner && owner.IsThisProcess())
            {
                File.Delete(_path);
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // It goes stale with this process; the run itself is recorded or not, whatever becomes of its claim.
            _ = exception;
        }
    }

    private void Beat()
    {
        try
        {
            File.SetLastWriteTimeUtc(_path, DateTime.UtcNow);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // A beat missed is a claim that may be taken over: the run is then done twice, with one result.
            _ = exception;
        }
    }

    private static bool TryCreate(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
            JsonSerializer.Serialize(stream, Owner.This);
            return true;
        }
        catch (IOException) when (File.Exists(path))
        {
            return false;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new InfluenceException($"Cannot write {path}: {exception.Message} Check the folder's rights and the free space.", exception);
        }
    }

    private static bool IsStale(string path, TimeSpan staleAfter)
    {
        try
        {
            // A claim that is gone has the age of the year 1601: it is nobody's, and is created anew at the next look.
            return File.Exists(path) && ((Read(path) is { } owner && owner.IsGone()) || DateTime.UtcNow - File.GetLastWriteTimeUtc(path) > staleAfter);
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>The owner; null while its line is not yet written.</summary>
    private static Owner? Read(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<Owner>(File.ReadAllBytes(path));
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private sealed record Owner(string Machine, int Process, DateTime Started)
    {
        public static Owner This { get; } = Current();

        public bool IsThisProcess() => this == This;

        /// <summary>Whether it is certain that the process runs no more.</summary>
        public bool IsGone()
        {
            if (Machine != This.Machine)
            {
                return false;
            }

            try
            {
                using var process = System.Diagnostics.Process.GetProcessById(Process);
                return (process.StartTime.ToUniversalTime() - Started).Duration() > s_sameStart;
            }
            catch (ArgumentException)
            {
                return true;
            }
            catch (Exception exception) when (exception is InvalidOperationException or Win32Exception or NotSupportedException)
            {
                // Not to be told: the heartbeat decides.
                _ = exception;
                return false;
            }
        }

        private static Owner Current()
        {
            using var process = System.Diagnostics.Process.GetCurrentProcess();
            return new Owner(Environment.MachineName, process.Id, process.StartTime.ToUniversalTime());
        }
    }
}
