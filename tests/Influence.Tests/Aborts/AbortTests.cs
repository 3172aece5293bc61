using System.Diagnostics;
using Xunit;

namespace Influence.Tests.Aborts;

/// <summary>
/// Errors that end the process where nothing guards against them, each in a child process: what ends is the child, and the
/// test says during what.
/// </summary>
public class AbortTests(AbortTests.Child child) : IClassFixture<AbortTests.Child>
{
    public static TheoryData<string> Names => [.. Probes.All.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void OurCallThrows(string name)
    {
        Assert.True(
            child.Began.Contains(name),
            $"The child did not come so far: it ended in {child.Began.LastOrDefault()}, {child.Output}"
        );
        Assert.True(child.Answers.TryGetValue(name, out var answer), $"The child ended: {child.Output}");
        Assert.StartsWith(nameof(InfluenceException), answer, StringComparison.Ordinal);
        Assert.Contains(Probes.Expected[name], answer, StringComparison.Ordinal);
        Assert.EndsWith(Probes.AsFound, answer, StringComparison.Ordinal);
    }

    /// <summary>The same error in TorchSharp's own call does end the process: the probes would see it.</summary>
    [Fact]
    public async Task TheUnguardedCallEndsTheChild()
    {
        foreach (var name in Probes.Unguarded.Keys)
        {
            using var process = Start(name);
            var output = process.StandardError.ReadToEndAsync();
            await process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync();
            Assert.True(process.ExitCode is not (0 or 2), $"{name} ended with {process.ExitCode}: {await output}");
        }
    }

    internal static Process Start(params string[] arguments)
    {
        // Under vstest this process is dotnet itself, or a host of its own.
        var dotnet = Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : "dotnet";
        var start = new ProcessStartInfo(dotnet, [typeof(AbortTests).Assembly.Location, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };

        // An abort is expected here: no dump of the memory.
        start.Environment["DOTNET_DbgEnableMiniDump"] = "0";
        return Process.Start(start)!;
    }

    /// <summary>One child runs all probes.</summary>
    public sealed class Child
    {
        public Child()
        {
            using var process = Start(ProbeProgram.AllProbes);
            var errors = process.StandardError.ReadToEndAsync();
            foreach (var line in process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                var (word, rest) = line.Split(' ', 2) is [var first, var second] ? (first, second) : (line, string.Empty);
                if (word == "begin")
                {
                    Began.Add(rest);
                }
                else if (word == "end" && rest.Split('\t') is [var name, var answer])
                {
                    Answers[name] = answer;
                }
            }

            process.WaitForExit();
            Output = $"exit code {process.ExitCode}; {errors.Result}";
        }

        public List<string> Began { get; } = [];

        public Dictionary<string, string> Answers { get; } = [];

        public string Output { get; }
    }
}
