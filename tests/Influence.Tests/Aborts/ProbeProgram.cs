using Influence.Tests.Distributed;
using Influence.Tests.Oracles;
using Influence.Tests.Stores;

namespace Influence.Tests.Aborts;

/// <summary>
/// This assembly as a program of its own, for what would end the process that the tests run in: <c>dotnet Influence.Tests.dll probes</c>
/// runs every probe and writes a line before and after each; a name in place of <c>probes</c> runs the unguarded call of that name;
/// <c>store FOLDER</c> writes a gradient store, and <c>work</c> and <c>units</c> do units of work, for tests that kill them.
/// </summary>
internal static class ProbeProgram
{
    public const string AllProbes = "probes";

    public static int Main(string[] arguments)
    {
        if (arguments is [KilledWriterTests.Command, var folder])
        {
            return Run(() => KilledWriterTests.Write(folder, new Reports(report => Console.WriteLine(report.Done))));
        }

        if (KilledWorkTests.Of(arguments) is { } work)
        {
            return Run(work);
        }

        if (arguments is not [AllProbes])
        {
            return arguments is [var name] && Probes.Unguarded.TryGetValue(name, out var call) ? Run(call) : 2;
        }

        foreach (var (name, probe) in Probes.All)
        {
            Console.WriteLine($"begin {name}");
            Console.WriteLine($"end {name}\t{probe().ReplaceLineEndings(" ")}");
        }

        return 0;

        static int Run(Action call)
        {
            call();
            return 0;
        }
    }
}
