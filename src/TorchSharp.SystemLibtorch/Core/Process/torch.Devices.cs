using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    private static Device? _defaultDevice;

    public static Device get_default_device() => _defaultDevice ?? CPU;

    public static void set_default_device(Device device) => _defaultDevice = InitializeDevice(device);

    public static void set_default_device(string device) => set_default_device(new Device(device));

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

    public static bool cuda_is_available() => cuda.is_available();

    public static bool mps_is_available() => false;

    /// <summary>NVIDIA GPUs.</summary>
    public static partial class cuda
    {
        public static bool is_available() => device_count() > 0;

        public static bool is_cudnn_available()
        {
            var available = Native.CudnnIsAvailable();
            Native.Check(available);
            return available != 0;
        }

        public static int device_count()
        {
            var count = Native.CudaDeviceCount();
            Native.Check(count);
            return count;
        }

        public static void manual_seed(long seed) => Native.Check(Native.CudaManualSeed(seed, all: 0));

        public static void manual_seed_all(long seed) => Native.Check(Native.CudaManualSeed(seed, all: 1));

        /// <summary>Waits for all kernels on a device (the current one unless given).</summary>
        public static void synchronize(Device? device = null) =>
            Native.Check(Native.CudaSynchronize(device?.index ?? -1));
    }
}
