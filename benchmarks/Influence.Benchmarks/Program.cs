using Influence.Benchmarks;
using Influence.Benchmarks.GpuTests;
using Influence.Benchmarks.Libtorch;
using Influence.Benchmarks.Measuring;
using Influence.Benchmarks.Recording;
using Influence.Benchmarks.Selecting;
using Influence.Benchmarks.Storing;
using Influence.Benchmarks.Tuning;
using TorchSharp;
using static TorchSharp.torch;

try
{
    if (args.Any(argument => argument is "-h" or "--help"))
    {
        Console.WriteLine(Options.Usage);
        return 0;
    }

    if (args is [SelectionRuns.Verb, var selection, var count])
    {
        return SelectionRuns.RunChild(selection, int.Parse(count, System.Globalization.CultureInfo.InvariantCulture));
    }

    if (args is [LibtorchCheck.Verb, var folder, "cpu" or "cuda"])
    {
        return LibtorchCheck.Run(folder, cuda: args[2] == "cuda");
    }

    if (args is [SettingSeconds.Verb, var tuned])
    {
        return SettingSeconds.RunChild(tuned);
    }

    var options = Options.Parse(args);
    return options.Verb switch
    {
        Options.GpuTests => GpuTestRunner.Run(Find(options.Device), options.Workloads),
        Options.Selection => SelectionBench.Run(options),
        Options.Store => StoreBench.Run(options, Find(options.Device)),
        Options.Settings => SettingsBench.Run(options),
        Options.Fixed => FixedCosts.Run(options, Find(options.Device)),
        Options.Memory => PeakMemory.RunChild(
            options.Workloads[0],
            options.Measurement ?? string.Empty,
            options.Quick,
            Find(options.Device)
        ),
        _ => RunBench(options, Find(options.Device)),
    };
}
catch (BenchmarkException exception)
{
    Console.Error.WriteLine(exception.Message);
    return 2;
}

static int RunBench(Options options, Device device)
{
    // Recorders have a file of their own: they are held against a step, not an epoch.
    var (recorders, others) = (options.Methods.Contains(Options.Training), options.Methods.Any(method => method != Options.Training));
    var code = others ? Bench.Run(options, device) : 0;
    return code == 0 && recorders ? RecordingBench.Run(options, device) : code;
}

static Device Find(string name)
{
    var wanted = new Device(name == "cuda" ? "cuda:0" : name);
    if (wanted.type == DeviceType.CUDA)
    {
        var count = cuda.is_available() ? cuda.device_count() : 0;
        if (wanted.index >= count)
        {
            throw new BenchmarkException(
                $"--device {name}: this libtorch finds " + $"{(count == 0 ? "no NVIDIA GPU" : $"{count} NVIDIA GPUs, numbered from 0")}."
            );
        }

        // PyTorch's cuDNN uses TF32 unless told otherwise; everything here compares and times full float32.
        backends.cuda.matmul.allow_tf32 = false;
        backends.cudnn.allow_tf32 = false;
    }

    return wanted;
}
