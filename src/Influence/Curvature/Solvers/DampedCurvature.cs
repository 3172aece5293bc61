using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>H + damping I, by its products with vectors.</summary>
/// <param name="Product">H.</param>
/// <param name="Train">The examples that H is the mean over.</param>
/// <param name="Damping">Absolute.</param>
/// <param name="Token">Checked between batches.</param>
internal sealed record DampedCurvature(CurvatureProduct Product, Examples Train, double Damping, CancellationToken Token)
{
    /// <summary>(H + damping I) v for each row of <c>[K, P]</c>, over all examples.</summary>
    public Tensor Multiply(Tensor vectors) => Product.Over(Train, vectors, Token).add_(vectors, Damping);

    /// <summary>The same over one batch.</summary>
    public Tensor MultiplyOn(ExampleBatch batch, Tensor vectors) => Product.Over(batch, vectors, Token).add_(vectors, Damping);

    /// <summary>|b - (H + damping I) x| / |b| of each row, zero where b is; one pass.</summary>
    public double[] Residuals(Tensor x, Tensor b)
    {
        using var scope = NewDisposeScope();
        return Rows.Ratio(Rows.Norms(b - Multiply(x)), Rows.Norms(b));
    }
}
