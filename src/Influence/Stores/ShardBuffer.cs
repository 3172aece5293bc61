using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>Room for one shard's rows, norms and losses; two of them take turns, so that one is written to the disk while the other
/// fills.</summary>
internal sealed class ShardBuffer
{
    private readonly Tensor _rows;

    /// <param name="manifest">How large a shard is; the rows live in the current scope.</param>
    public ShardBuffer(StoreManifest manifest)
    {
        var type = manifest.Type() == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        _rows = empty([Math.Min(manifest.ExamplesPerShard, manifest.Count), manifest.Width()], type);
        (Norms, Losses) = (new double[_rows.shape[0]], new double[_rows.shape[0]]);
    }

    public double[] Norms { get; }

    public double[] Losses { get; }

    /// <summary>Some rows, <c>[count, K]</c>.</summary>
    public Tensor Rows(int first, int count) => _rows.narrow(0, first, count);

    /// <summary>Where the rows lie; libtorch's memory does not move.</summary>
    public unsafe nint Address
    {
        get
        {
            fixed (byte* first = _rows.bytes)
            {
                return (nint)first;
            }
        }
    }
}
