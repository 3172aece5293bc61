using System.Diagnostics;

namespace Influence.Benchmarks.Measuring;

/// <summary>This program once more, for one measurement.</summary>
internal static class ChildProcess
{
    /// <summary>What it printed.</summary>
    public static string Run(IEnumerable<string> arguments, string what)
    {
        var program = Environment.ProcessPath ?? throw new BenchmarkException("The path of this process is unknown, so no child can be started.");
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
        {
            start.ArgumentList.Add(Environment.GetCommandLineArgs()[0]);
        }

        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        using var child = Process.Start(start) ?? throw new BenchmarkException($"{program} could not be started.");
        var output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        return child.ExitCode == 0 ? output : throw new BenchmarkException($"Measuring {what} failed (exit code {child.ExitCode}).");
    }
}
