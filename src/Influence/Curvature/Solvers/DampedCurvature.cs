using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>H + damping I, by its products with vectors.</summary>
/// <param name="Product">H.</param>
/// <param name="Train">The examples that H is the mean over.</param>
/// <param name="Damping">Absolute.</param>
/// <param name="Token">Checked between batches.</param>
internal sealed record DampedCurvature(CurvatureProduct Product, Examples Train, double Damping, CancellationToken Token)
{
    /// <summary>The damping of every weight, <c>[P]</c>, in the place of one number; null for that number. The owner's.</summary>
    public Tensor? Each { get; init; }

    /// <summary>(H + damping I) v for each row of <c>[K, P]</c>, over all examples.</summary>
    public Tensor Multiply(Tensor vectors) => Damp(Product.Over(Train, vectors, Token), vectors);

    /// <summary>The same over one batch.</summary>
    public Tensor MultiplyOn(ExampleBatch batch, Tensor vectors) => Damp(Product.Over(batch, vectors, Token), vectors);

    private Tensor Damp(Tensor product, Tensor vectors)
    {
        if (Each is null)
        {
            return product.add_(vectors, Kept(Damping));
        }

        using var own = vectors * Each;
        return product.add_(own);
    }

    /// <summary>|b - (H + damping I) x| / |b| of each row, zero where b is; one pass.</summary>
    public double[] Residuals(Tensor x, Tensor b)
    {
        using var scope = NewDisposeScope();
        return Rows.Ratio(Rows.Norms(b - Multiply(x)), Rows.Norms(b));
    }
}
