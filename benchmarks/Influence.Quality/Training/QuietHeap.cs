using System.Runtime;

namespace Influence.Quality.Training;

/// <summary>
/// No garbage collection for a while. TorchSharp's optimizers hand numbers to libtorch as temporaries that nothing holds while libtorch
/// reads them, so that a collection in that moment frees them: the step fails, or goes on with another number.
/// </summary>
internal sealed class QuietHeap : IDisposable
{
    private const long Bytes = 200_000_000;
    private readonly int _collections;

    public QuietHeap()
    {
        GC.TryStartNoGCRegion(Bytes);
        _collections = Collections;
    }

    /// <summary>Whether something was collected nevertheless, because more than the reserve was allocated.</summary>
    public bool WasDisturbed => Collections != _collections;

    private static int Collections => GC.CollectionCount(0);

    public void Dispose()
    {
        if (GCSettings.LatencyMode == GCLatencyMode.NoGCRegion)
        {
            GC.EndNoGCRegion();
        }
    }
}
