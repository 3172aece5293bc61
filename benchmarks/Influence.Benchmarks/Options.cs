using Influence.Benchmarks.Selecting;
using Influence.Benchmarks.Workloads;

namespace Influence.Benchmarks;

/// <summary>What the command line asks for.</summary>
/// <param name="Verb">bench, selection, settings, store, fixed, gpu-tests, or memory (a child process of bench).</param>
/// <param name="Workloads">The workloads to run.</param>
/// <param name="Selections">The selection strategies to run.</param>
/// <param name="Methods">Any of tracin, influence, groups and training.</param>
/// <param name="Quick">Every measurement once, on fewer examples where all of them take minutes.</param>
/// <param name="Device">cpu, or cuda with an optional number.</param>
/// <param name="Output">The folder of the result files; null for none.</param>
/// <param name="Measurement">Of the verb memory.</param>
internal sealed record Options(
    string Verb,
    IReadOnlyList<string> Workloads,
    IReadOnlyList<string> Selections,
    IReadOnlyList<string> Methods,
    bool Quick,
    string Device,
    string? Output,
    string? Measurement
)
{
    public const string Bench = "bench";
    public const string Selection = "selection";
    public const string GpuTests = "gpu-tests";
    public const string Settings = "settings";
    public const string Memory = "memory";
    public const string Store = "store";
    public const string Fixed = "fixed";
    public const string TracIn = "tracin";
    public const string Influence = "influence";
    public const string Groups = "groups";
    public const string Training = "training";

    private static readonly string[] AllMethods = [TracIn, Influence, Groups, Training];

    private static IReadOnlyList<string> SelectionKeys => [.. SelectionCases.All.Select(one => one.Key)];

    public static string Usage { get; } =
        $"""
            Influence.Benchmarks [bench] [options]       how long TracIn, influence functions and group influence take, in plain training epochs, and what
                                                         recorders cost in a training loop (method training)
            Influence.Benchmarks selection [options]     seconds and memory of selection strategies for 10^4, 10^5 and 10^6 examples
            Influence.Benchmarks settings [options]      what thread and allocator settings of the environment do to a plain epoch and to the library
            Influence.Benchmarks store [options]         a gradient store: written, beside a plain epoch, and scanned, beside a plain sum over its bytes
            Influence.Benchmarks fixed [options]         what a call costs beyond its passes, at 1 to 1,000 examples, and what its checks cost
            Influence.Benchmarks gpu-tests [options]     the library on a device against itself on the CPU in float64
            Influence.Benchmarks libtorch FOLDER cpu|cuda
                                                         whether that folder's libtorch has all that TorchSharp's native library needs

              --only {string.Join("|", WorkloadCatalog.Names)}     one workload (may be repeated); of selection one of
                                         {string.Join(", ", SelectionKeys)}
              --method {string.Join("|", AllMethods)}  one method (may be repeated)
              --quick                    every measurement once, on fewer examples where all of them take minutes
              --device cpu|cuda|cuda:N   where the models and data are; cpu unless given
              --output FOLDER            where the result files go; benchmarks/results of the repository unless given
              --no-files                 print only
            """;

    public static Options Parse(IReadOnlyList<string> arguments)
    {
        var (verb, rest) =
            arguments.Count > 0 && !arguments[0].StartsWith('-')
                ? (arguments[0], new Queue<string>(arguments.Skip(1)))
                : (Bench, new Queue<string>(arguments));
        if (verb is not (Bench or Selection or Settings or Store or Fixed or GpuTests or Memory))
        {
            throw new BenchmarkException($"There is no command '{verb}'.\n\n{Usage}");
        }

        var (only, methods) = (new List<string>(), new List<string>());
        var (quick, files, device) = (false, true, "cpu");
        string? output = null,
            measurement = null;
        while (rest.TryDequeue(out var option))
        {
            switch (option)
            {
                case "--only":
                    only.Add(OneOf(option, Value(option), verb == Selection ? SelectionKeys : WorkloadCatalog.Names));
                    break;
                case "--method":
                    methods.Add(OneOf(option, Value(option), AllMethods));
                    break;
                case "--quick":
                    quick = true;
                    break;
                case "--no-files":
                    files = false;
                    break;
                case "--device":
                    device = CheckDevice(Value(option));
                    break;
                case "--output":
                    output = Value(option);
                    break;
                case "--measurement" when verb == Memory:
                    measurement = Value(option);
                    break;
                default:
                    throw new BenchmarkException($"There is no option '{option}'.\n\n{Usage}");
            }
        }

        return new Options(
            verb,
            verb != Selection && only.Count > 0 ? [.. only.Distinct()] : WorkloadCatalog.Names,
            only.Count > 0 ? only : SelectionKeys,
            methods.Count > 0 ? methods : AllMethods,
            quick,
            device,
            files ? output ?? Repository.Folder("benchmarks", "results") : null,
            measurement
        );

        string Value(string option) =>
            rest.TryDequeue(out var value) ? value : throw new BenchmarkException($"{option} needs a value.\n\n{Usage}");
    }

    private static string OneOf(string option, string value, IReadOnlyList<string> allowed) =>
        allowed.Contains(value) ? value : throw new BenchmarkException($"{option} takes {string.Join(", ", allowed)}; found '{value}'.");

    private static string CheckDevice(string device)
    {
        var number = device.StartsWith("cuda:", StringComparison.Ordinal) ? device["cuda:".Length..] : "0";
        return
            device == "cpu"
            || device == "cuda"
            || (device.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(number, out var n) && n >= 0)
            ? device
            : throw new BenchmarkException($"--device takes cpu, cuda or cuda:N; found '{device}'.");
    }
}
