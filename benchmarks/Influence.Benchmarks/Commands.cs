using System.CommandLine;
using Influence.Benchmarks.GpuTests;
using Influence.Benchmarks.Libtorch;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Profiling;
using Influence.Benchmarks.Recording;
using Influence.Benchmarks.Scaling;
using Influence.Benchmarks.Selecting;
using Influence.Benchmarks.Storing;
using Influence.Benchmarks.Tuning;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks;

/// <summary>The commands, those of child processes, which measure one thing, among them.</summary>
internal static class Commands
{
    private const string Bench =
        "how long TracIn, influence functions and group influence take, in plain training epochs, and what "
        + "recorders cost in a training loop (method training)";

    public static RootCommand Root()
    {
        var root = With(new RootCommand($"With no command: {Bench}."), Options.OfWorkloads, RunBench);
        root.Add(With(new Command("bench", Bench), Options.OfWorkloads, RunBench));
        root.Add(
            With(
                new Command("selection", "seconds and memory of selection strategies for 10^4, 10^5 and 10^6 examples"),
                Options.OfSelections,
                SelectionBench.Run
            )
        );
        root.Add(
            With(
                new Command("settings", "what thread and allocator settings of the environment do to a plain epoch and to the library"),
                Options.OfWorkloads,
                SettingsBench.Run
            )
        );
        root.Add(
            With(
                new Command("store", "a gradient store: written, beside a plain epoch, and scanned, beside a plain sum over its bytes"),
                Options.OfWorkloads,
                options => StoreBench.Run(options, Find(options.Device))
            )
        );
        root.Add(
            With(
                new Command("nearest", "approximate search over a gradient store by USearch, its recall beside a scan of all rows"),
                Options.OfWorkloads,
                options => NearestBench.Run(options, Find(options.Device))
            )
        );
        root.Add(
            With(
                new Command("fixed", "what a call costs beyond its passes, at 1 to 1,000 examples, and what its checks cost"),
                Options.OfWorkloads,
                options => FixedCosts.Run(options, Find(options.Device))
            )
        );
        root.Add(
            With(
                new Command("scale", "how cost grows with examples, queries, width and positions, beside the counted work"),
                Options.OfWorkloads,
                options => ScaleBench.Run(options, Find(options.Device))
            )
        );
        root.Add(
            With(
                new Command("ranks", "an EK-FAC fit, scores and a store by two processes over one folder, beside one process"),
                Options.OfWorkloads,
                options => RanksBench.Run(options, Find(options.Device))
            )
        );
        root.Add(
            With(
                new Command("strongest", "what the strongest examples of each query cost with K-FAC and EK-FAC, beside all pairs"),
                Options.OfWorkloads,
                options => StrongestCosts.Run(options, Find(options.Device))
            )
        );
        root.Add(
            With(
                new Command("products", "all pairs with products in bfloat16 beside float32: processor time and errors"),
                Options.OfWorkloads,
                options => ProductCosts.Run(options, Find(options.Device))
            )
        );
        root.Add(
            With(
                new Command("gpu-tests", "the library on a device against itself on the CPU in float64"),
                Options.OfWorkloads,
                options => GpuTestRunner.Run(Find(options.Device), options.Workloads)
            )
        );
        root.Add(OfLibtorch());
        root.Add(OfMemory());
        root.Add(OfSelectionRun());
        root.Add(OfSettingSeconds());
        root.Add(RanksBench.Command());
        return root;
    }

    private static TCommand With<TCommand>(TCommand command, IReadOnlyList<Option> options, Func<Options, int> run)
        where TCommand : Command
    {
        foreach (var option in options)
        {
            command.Add(option);
        }

        command.SetAction(given => run(Options.Of(given)));
        return command;
    }

    private static Command OfLibtorch()
    {
        var folder = new Argument<string>("FOLDER");
        var device = new Argument<string>("cpu|cuda").AcceptOnlyFromAmong("cpu", "cuda");
        var command = new Command(LibtorchCheck.Verb, "whether that folder's libtorch has all that TorchSharp's native library needs")
        {
            folder,
            device,
        };
        command.SetAction(given => LibtorchCheck.Run(given.GetRequiredValue(folder), cuda: given.GetRequiredValue(device) == "cuda"));
        return command;
    }

    private static Command OfMemory()
    {
        var measurement = new Option<string>("--measurement") { Required = true };
        var command = With(new Command(PeakMemory.Verb) { Hidden = true }, Options.OfWorkloads, _ => 0);
        command.Add(measurement);
        command.SetAction(given =>
        {
            var options = Options.Of(given);
            return PeakMemory.RunChild(options.Workloads[0], given.GetRequiredValue(measurement), options.Quick, Find(options.Device));
        });
        return command;
    }

    private static Command OfSelectionRun()
    {
        var (selection, count) = (new Argument<string>("selection"), new Argument<int>("count"));
        var command = new Command(SelectionRuns.Verb) { selection, count };
        command.Hidden = true;
        command.SetAction(given => SelectionRuns.RunChild(given.GetRequiredValue(selection), given.GetRequiredValue(count)));
        return command;
    }

    private static Command OfSettingSeconds()
    {
        var workload = new Argument<string>("workload");
        var command = new Command(SettingSeconds.Verb) { workload };
        command.Hidden = true;
        command.SetAction(given => SettingSeconds.RunChild(given.GetRequiredValue(workload)));
        return command;
    }

    private static int RunBench(Options options)
    {
        if (options.Profile)
        {
            return ProfileBench.Run(options, Find(options.Device));
        }

        // Recorders have a file of their own: they are held against a step, not an epoch.
        var device = Find(options.Device);
        var (recorders, others) = (options.Methods.Contains(Options.Training), options.Methods.Any(method => method != Options.Training));
        var code = others ? Benchmarks.Bench.Run(options, device) : 0;
        return code == 0 && recorders ? RecordingBench.Run(options, device) : code;
    }

    private static Device Find(string name)
    {
        var wanted = new Device(name == "cuda" ? "cuda:0" : name);
        if (wanted.type == DeviceType.CUDA)
        {
            var count = cuda.is_available() ? cuda.device_count() : 0;
            if (wanted.index >= count)
            {
                throw new BenchmarkException(
                    $"--device {name}: this libtorch finds "
                        + $"{(count == 0 ? "no NVIDIA GPU" : $"{count} NVIDIA GPUs, numbered from 0")}."
                );
            }

            // PyTorch's cuDNN uses TF32 unless told otherwise; everything here compares and times full float32.
            backends.cuda.matmul.allow_tf32 = false;
            backends.cudnn.allow_tf32 = false;
        }

        return wanted;
    }
}
