using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static Device get_default_device() => CPU;

    /// <summary>Checks that a device can be used; null is the default device.</summary>
    public static Device InitializeDevice(Device? device)
    {
        device ??= get_default_device();
        InitializeDeviceType(device.type);
        return device;
    }

    public static void InitializeDeviceType(DeviceType deviceType)
    {
        if (!TryInitializeDeviceType(deviceType))
        {
            throw new InvalidOperationException(
                $"Torch device type '{deviceType}' is not available on this platform.");
        }
    }

    public static bool TryInitializeDeviceType(DeviceType deviceType) => deviceType switch
    {
        DeviceType.CUDA => cuda.is_available(),
        DeviceType.MPS => false,
        _ => true,
    };

    /// <summary>NVIDIA GPUs.</summary>
    public static partial class cuda
    {
        public static bool is_available() => device_count() > 0;

        public static int device_count()
        {
            var count = Native.CudaDeviceCount();
            Native.Check(count);
            return count;
        }

        public static void manual_seed(long seed) => Native.Check(Native.CudaManualSeed(seed, all: 0));

        /// <summary>Waits for all kernels on a device (the current one unless given).</summary>
        public static void synchronize(Device? device = null) =>
            Native.Check(Native.CudaSynchronize(device?.index ?? -1));
    }
}
