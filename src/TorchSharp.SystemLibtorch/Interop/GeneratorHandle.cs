using System.Runtime.InteropServices;

namespace TorchSharp.Interop;

/// <summary>Owns one native generator object: a new state, or one more name for a device's default generator.</summary>
internal sealed class GeneratorHandle : SafeHandle
{
    private GeneratorHandle(nint handle)
        : base(0, ownsHandle: true) => SetHandle(handle);

    public override bool IsInvalid => handle == 0;

    public static GeneratorHandle Of(torch.Device device, bool fresh)
    {
        var generator = Native.Generator((int)device.type, device.index, fresh ? 1 : 0);
        return generator != 0 ? new GeneratorHandle(generator) : throw Native.LastException();
    }

    protected override bool ReleaseHandle()
    {
        Native.GeneratorFree(handle);
        return true;
    }
}
