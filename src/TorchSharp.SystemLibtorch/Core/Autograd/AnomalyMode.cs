using TorchSharp.Interop;

namespace TorchSharp;

/// <summary>While it lives, a backward pass names the forward operation whose gradient failed or is NaN.</summary>
public class AnomalyMode : IDisposable
{
    private readonly bool _wasEnabled = IsEnabled;
    private readonly bool _checkedNan = ShouldCheckNaN;

    public AnomalyMode(bool enabled, bool check_nan = true) => Set(enabled, check_nan);

    public static bool IsEnabled => Native.AnomalyMode() != 0;

    public static bool ShouldCheckNaN => Native.AnomalyChecksNan() != 0;

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
        if (disposing)
        {
            Set(_wasEnabled, _checkedNan);
        }
    }

    private static void Set(bool enabled, bool checkNan) =>
        Native.SetAnomalyMode(enabled ? 1 : 0, checkNan ? 1 : 0);
}
