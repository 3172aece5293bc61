using System.Diagnostics;
using Influence.Benchmarks.Tuning;

namespace Influence.Benchmarks.Measuring;

/// <summary>This program once more, for one measurement.</summary>
internal static class ChildProcess
{
    /// <summary>What it printed.</summary>
    /// <param name="arguments">Its command line.</param>
    /// <param name="what">What it measures, for a message.</param>
    /// <param name="setting">Its environment, as far as any setting is about it; null: this process's own.</param>
    public static string Run(IEnumerable<string> arguments, string what, Setting? setting = null)
    {
        var program =
            Environment.ProcessPath ?? throw new BenchmarkException("The path of this process is unknown, so no child can be started.");
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(program) == "dotnet")
        {
            start.ArgumentList.Add(Environment.GetCommandLineArgs()[0]);
        }

        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        if (setting is not null)
        {
            Setting.Variables.ToList().ForEach(variable => start.Environment.Remove(variable));
            setting.Environment.ToList().ForEach(variable => start.Environment[variable.Key] = variable.Value);
        }

        using var child = Process.Start(start) ?? throw new BenchmarkException($"{program} could not be started.");
        var output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        return child.ExitCode == 0 ? output : throw new BenchmarkException($"Measuring {what} failed (exit code {child.ExitCode}).");
    }
}
