using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Measuring;

/// <summary>How fast this process multiplies large float32 matrices: the speed that floors are turned into seconds by.</summary>
internal sealed class MatmulRate : IDisposable
{
    private readonly Tensor _left;
    private readonly Tensor _right;
    private readonly int _repeats;

    public MatmulRate(Device device)
    {
        // Large enough to run at full speed, and long enough to be timed on a GPU.
        var size = device.type == DeviceType.CUDA ? 8192 : 1536;
        _repeats = device.type == DeviceType.CUDA ? 4 : 2;
        _left = rand(size, size, device: device);
        _right = rand(size, size, device: device);
    }

    public double MultiplyAdds => _repeats * Math.Pow(_left.shape[0], 3);

    public void Run()
    {
        for (var i = 0; i < _repeats; i++)
        {
            using var _ = _left.mm(_right);
        }
    }

    public void Dispose()
    {
        _left.Dispose();
        _right.Dispose();
    }
}
