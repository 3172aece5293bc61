using System.ComponentModel;
using System.Globalization;

namespace Influence.Formats;

/// <summary>
/// Whose a claim is. A process's number says something only where the same numbers are counted: on one machine since one start of it, and
/// within one namespace of processes, as each container has its own.
/// </summary>
/// <param name="Token">Drawn for each claim: no two are the same.</param>
/// <param name="Machine">The machine's name.</param>
/// <param name="Space">Its start and the namespace of processes; empty where there is no telling.</param>
/// <param name="Process">The number of the process.</param>
/// <param name="Started">When the process started, as the system counts; empty where it does not say.</param>
internal sealed record ClaimOwner(string Token, string Machine, string Space, int Process, string Started)
{
    private static readonly string s_space = ReadSpace();
    private static readonly string s_started = StartOf(Environment.ProcessId) ?? string.Empty;

    public static ClaimOwner Draw() =>
        new(Guid.NewGuid().ToString("N"), Environment.MachineName, s_space, Environment.ProcessId, s_started);

    /// <summary>Whether it is certain that the process runs no more.</summary>
    public bool IsGone()
    {
        if (Machine != Environment.MachineName || Space != s_space || s_space.Length == 0)
        {
            return false;
        }

        try
        {
            using var process = System.Diagnostics.Process.GetProcessById(Process);
            return StartOf(Process) is { Length: > 0 } now && Started is { Length: > 0 } && now != Started;
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

    /// <summary>Whether it is a process of this machine and namespace, of which <see cref="IsGone"/> can tell.</summary>
    public bool IsHere() => Machine == Environment.MachineName && Space == s_space && s_space.Length > 0;

    /// <summary>The clock ticks from the machine's start to the process's, which no correction of the clock changes; elsewhere the time of
    /// day.</summary>
    private static string? StartOf(int process)
    {
        try
        {
            if (!OperatingSystem.IsLinux())
            {
                using var found = System.Diagnostics.Process.GetProcessById(process);
                return found.StartTime.ToUniversalTime().Ticks.ToString(CultureInfo.InvariantCulture);
            }

            // The name, in parentheses, may hold blanks and parentheses; the start is the 20th field after it.
            var line = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/stat"));
            return line[(line.LastIndexOf(')') + 2)..].Split(' ')[19];
        }
        catch (Exception exception)
            when (exception
                    is IOException
                        or UnauthorizedAccessException
                        or ArgumentException
                        or InvalidOperationException
                        or Win32Exception
                        or NotSupportedException
                        or IndexOutOfRangeException
            )
        {
            _ = exception;
            return null;
        }
    }

    private static string ReadSpace()
    {
        if (!OperatingSystem.IsLinux())
        {
            return "whole machine";
        }

        try
        {
            return $"{File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim()} {new FileInfo("/proc/self/ns/pid").LinkTarget}";
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            _ = exception;
            return string.Empty;
        }
    }
}
