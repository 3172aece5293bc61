using System.Runtime.InteropServices;

namespace TorchSharp.Interop;

/// <summary>Owns one reference to a native tensor. Frees it once, after the last call that uses it has returned.</summary>
internal sealed class TensorHandle : SafeHandle
{
    private static long _liveCount;
    private static long _peakCount;

    public TensorHandle(nint handle)
        : base(0, ownsHandle: true)
    {
        SetHandle(handle);
        if (handle != 0)
        {
            // The peak is a diagnostic: a lost race makes it a little low, never wrong for one thread.
            _peakCount = Math.Max(_peakCount, Interlocked.Increment(ref _liveCount));
        }
    }

    public static long LiveCount => Interlocked.Read(ref _liveCount);

    public static long PeakCount => Interlocked.Read(ref _peakCount);

    public override bool IsInvalid => handle == 0;

    /// <summary>Gives the reference away: this object will not free it.</summary>
    public nint Surrender()
    {
        var surrendered = handle;
        SetHandle(0);
        SetHandleAsInvalid();
        GC.SuppressFinalize(this);
        Interlocked.Decrement(ref _liveCount);
        return surrendered;
    }

    protected override bool ReleaseHandle()
    {
        Native.TensorFree(handle);
        Interlocked.Decrement(ref _liveCount);
        return true;
    }
}
