using System.Runtime.InteropServices;

namespace TorchSharp.Interop;

/// <summary>Holds a native handle for the length of one call: no finaliser or Dispose frees it meanwhile.</summary>
internal ref struct HandleUse
{
    private SafeHandle? _handle;

    public HandleUse(SafeHandle handle, string kind = "Handle")
    {
        Pointer = Acquire(handle, kind);
        _handle = handle;
    }

    public nint Pointer { get; }

    /// <summary>Takes a reference; fails as TorchSharp does when there is nothing behind the handle any more.</summary>
    public static nint Acquire(SafeHandle handle, string kind)
    {
        var taken = false;
        if (!handle.IsInvalid && !handle.IsClosed)
        {
            try
            {
                handle.DangerousAddRef(ref taken);
            }
            catch (ObjectDisposedException)
            {
                // Disposed between the check and here, on another thread: the same answer as if before.
            }
        }

        return taken
            ? handle.DangerousGetHandle()
            : throw new InvalidOperationException($"{kind} invalid -- empty handle.");
    }

    public void Dispose()
    {
        _handle?.DangerousRelease();
        _handle = null;
    }
}
