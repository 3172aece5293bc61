using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The curvature of one block of parameters as an orthogonal basis and the eigenvalues along it. Immutable; owns its
/// tensors. K-FAC, EK-FAC and the diagonal differ only in how these were made.
/// </summary>
internal abstract class BlockCurvature : IDisposable
{
    /// <summary>The names of its parameters.</summary>
    public required string Name { get; init; }

    /// <summary>The number of elements that it is the curvature of.</summary>
    public abstract long Size { get; }

    /// <summary>The mean over all eigenvalues.</summary>
    public abstract double MeanEigenvalue { get; }

    /// <summary>(H + damping I)^-1 of this block.</summary>
    public virtual BlockInverse Invert(double damping) => Map(eigenvalues => Reciprocal(eigenvalues, damping));

    /// <summary>(H + damping I)^(-1/2) of this block.</summary>
    public BlockInverse InverseRoot(double damping) => Map(eigenvalues => Reciprocal(eigenvalues, damping).sqrt_());

    /// <summary>Q w(eigenvalues) Q' of this block, for weights w of the eigenvalues, in their shape, in the current scope.</summary>
    public abstract BlockInverse Map(Func<Tensor, Tensor> weights);

    /// <summary>The curvature's own diagonal in the parameters' coordinates, one part a parameter, <c>[P_k]</c>, in the current
    /// scope.</summary>
    /// <param name="bias">Whether the last column is the bias, a part of its own.</param>
    public abstract Tensor[] Diagonal(bool bias);

    /// <summary>The sum over its eigenvalues of eigenvalue / (eigenvalue + damping): how many directions it takes as known.</summary>
    public double KnownDirections(double damping)
    {
        var known = 0.0;
        Look(eigenvalues =>
        {
            var shares = damping > 0 ? eigenvalues / (eigenvalues + Kept(damping)) : eigenvalues.gt(Kept(0));
            known += shares.to_type(ScalarType.Float64).sum().item<double>();
        });
        return known;
    }

    /// <summary>Whether every eigenvalue is a number in the type of the gradients: the inverse of one that is too large would be
    /// zero.</summary>
    public bool IsFinite()
    {
        var finite = true;
        Look(eigenvalues => finite = finite && eigenvalues.isfinite().all().item<bool>());
        return finite;
    }

    /// <summary>Everything that a file must hold to make it again, by a name of its own.</summary>
    public abstract IEnumerable<(string Name, Tensor Value)> Tensors();

    public abstract void Dispose();

    /// <summary>Shows the eigenvalues, in one tensor or several.</summary>
    private void Look(Action<Tensor> at)
    {
        using var scope = NewDisposeScope();
        using var same = Map(eigenvalues =>
        {
            at(eigenvalues);
            return eigenvalues.clone();
        });
    }

    /// <summary>Cuts a matrix <c>[O, I']</c> into the weight's part and the bias's.</summary>
    protected static Tensor[] Parts(Tensor matrix, bool bias)
    {
        var inputs = matrix.shape[1] - (bias ? 1 : 0);
        var weight = matrix.narrow(1, 0, inputs).reshape(-1);
        return bias ? [weight, matrix.select(1, inputs).clone()] : [weight];
    }

    /// <summary>
    /// 1/(eigenvalue + damping); where both are zero, as for a pseudo-inverse, zero. The cut lies at the rounding of the largest.
    /// </summary>
    protected static Tensor Reciprocal(Tensor eigenvalues, double damping)
    {
        using var scope = NewDisposeScope();
        var sum = eigenvalues + Kept(damping);
        if (damping > 0)
        {
            return sum.reciprocal_().MoveToOuterDisposeScope();
        }

        var epsilon = eigenvalues.dtype == ScalarType.Float64 ? 1e-14 : 1e-6;
        var cut = eigenvalues.max() * Kept(epsilon);
        return sum.reciprocal_().masked_fill(eigenvalues.le(cut), Kept(0)).MoveToOuterDisposeScope();
    }
}
