using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Eigenvectors and eigenvalues of a covariance matrix, whole or in diagonal blocks. Owns its tensors; layers that share
/// their input share one.
/// </summary>
internal sealed class FactorBasis : IDisposable
{
    private readonly Tensor[] _vectors;

    /// <param name="vectors">One orthogonal matrix per diagonal block, eigenvectors in columns; none: the identity.</param>
    /// <param name="values">Eigenvalues, float64 <c>[n]</c>, none negative, ascending within each block.</param>
    public FactorBasis(Tensor[] vectors, Tensor values)
    {
        _vectors = vectors;
        Values = values;
    }

    /// <summary>Eigenvalues, float64 <c>[n]</c> on the CPU.</summary>
    public Tensor Values { get; }

    public IReadOnlyList<Tensor> Vectors => _vectors;

    public long Size => Values.shape[0];

    /// <summary>
    /// Decomposes a covariance, in float64; rounding that makes an eigenvalue negative is cut off at zero.
    /// </summary>
    /// <param name="covariance">One symmetric matrix per diagonal block, float64.</param>
    /// <param name="dtype">The dtype that gradients are rotated in.</param>
    /// <param name="device">Where gradients are rotated.</param>
    public static FactorBasis Of(IReadOnlyList<Tensor> covariance, ScalarType dtype, Device device)
    {
        using var scope = NewDisposeScope();
        var vectors = new List<Tensor>();
        var values = new List<Tensor>();
        foreach (var block in covariance)
        {
            var (w, v) = linalg.eigh((block + block.t()) * Kept(0.5));
            values.Add(w.clamp_min(Kept(0)));
            vectors.Add(v.to_type(dtype).to(device).contiguous().DetachFromDisposeScope());
        }

        return new FactorBasis([.. vectors], cat([.. values], 0).cpu().DetachFromDisposeScope());
    }

    /// <summary>x Q over the last dimension: coordinates in the eigenbasis.</summary>
    public Tensor Rotate(Tensor x) => Multiply(x, transpose: false);

    /// <summary>x Q' over the last dimension: back from the eigenbasis.</summary>
    public Tensor RotateBack(Tensor x) => Multiply(x, transpose: true);

    /// <summary>x (Q o Q)' over the last dimension: what eigenvalues leave on the diagonal.</summary>
    public Tensor SquaredRotateBack(Tensor x)
    {
        using var scope = NewDisposeScope();
        using var squares = new FactorBasis([.. _vectors.Select(v => v.Squared().DetachFromDisposeScope())], Values.alias());
        return squares.RotateBack(x).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        foreach (var block in _vectors)
        {
            block.Dispose();
        }

        Values.Dispose();
    }

    private Tensor Multiply(Tensor x, bool transpose)
    {
        if (_vectors.Length == 0)
        {
            return x.alias();
        }

        var shape = x.shape;
        var rows = x.reshape(-1, Size); // [B*T, n]
        if (_vectors.Length == 1)
        {
            return rows.mm(Side(_vectors[0])).reshape(shape);
        }

        var parts = new List<Tensor>();
        long start = 0;
        foreach (var block in _vectors)
        {
            parts.Add(rows.narrow(1, start, block.shape[0]).mm(Side(block)));
            start += block.shape[0];
        }

        return cat([.. parts], 1).reshape(shape);

        Tensor Side(Tensor block) => transpose ? block.t() : block;
    }
}
