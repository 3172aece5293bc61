using System.Globalization;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>A device: its kind, and which of that kind (-1: the current one).</summary>
    public class Device
    {
        public Device(string description)
        {
            var parts = description.Split(':');
            type = ParseType(parts[0]);
            index = parts.Length == 2 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : -1;
        }

        public Device(string deviceType, int index = -1)
        {
            type = ParseType(deviceType);
            this.index = index;
        }

        public Device(DeviceType deviceType, int index = -1)
        {
            type = deviceType;
            this.index = index;
        }

        public Device(int index)
        {
            type = DeviceType.CUDA;
            this.index = index;
        }

        public DeviceType type { get; }

        public int index { get; }

        public static implicit operator Device(string description) => new(description);

        public override string ToString()
        {
            var kind = LowerName(type);
            return type == DeviceType.CPU || index == -1 ? kind : $"{kind}:{index}";
        }

        private static DeviceType ParseType(string name) => Enum.Parse<DeviceType>(name.ToUpperInvariant());

        private static string LowerName(DeviceType type) => type switch
        {
            DeviceType.CPU => "cpu",
            DeviceType.CUDA => "cuda",
            DeviceType.META => "meta",
            DeviceType.MPS => "mps",
            _ => string.Concat(type.ToString().Select(char.ToLowerInvariant)),
        };
    }

    public static readonly Device CPU = new(DeviceType.CPU);

    public static readonly Device META = new(DeviceType.META);

    public static Device CUDA => InitializeDevice(new Device(DeviceType.CUDA));

    public static Device device(string description) => InitializeDevice(new Device(description));

    public static Device device(string deviceType, int index = -1) =>
        InitializeDevice(new Device(deviceType, index));

    public static Device device(DeviceType deviceType, int index = -1) =>
        InitializeDevice(new Device(deviceType, index));

    public static Device device(int index) => new(DeviceType.CUDA, index);
}
