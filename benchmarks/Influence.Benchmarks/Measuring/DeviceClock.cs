using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Measuring;

/// <summary>Seconds of work on a device: a GPU's queue is waited for before the clock is read.</summary>
internal sealed class DeviceClock(Device device)
{
    public Device Device => device;

    public double Time(Action work)
    {
        var start = Now();
        work();
        return Stopwatch.GetElapsedTime(start, Now()).TotalSeconds;
    }

    public long Now()
    {
        if (device.type == DeviceType.CUDA)
        {
            cuda.synchronize(device);
        }

        return Stopwatch.GetTimestamp();
    }
}
