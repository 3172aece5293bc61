using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Scorers;

/// <summary>One linear layer's gradients of a batch, G = Delta' a an example, in float64 and as factors.</summary>
/// <param name="activation">a, <c>[B, T, I]</c>.</param>
/// <param name="outputGradient">Delta, <c>[B, T, O]</c>.</param>
internal sealed class GradientFactors(Tensor activation, Tensor outputGradient) : IDisposable
{
    private Tensor? _written;

    /// <summary>Whether T x T is smaller than what it stands for.</summary>
    private bool FewPositions => activation.shape[1] < Math.Min(activation.shape[2], outputGradient.shape[2]);

    /// <summary>A block's factors; the caller disposes them. Null where the batch did not use the block.</summary>
    public static GradientFactors? Of(BatchGradients batch, int block)
    {
        if (batch.Blocks[block] is not { } gradients)
        {
            return null;
        }

        using var scope = NewDisposeScope();
        var factored = (FactoredGradients)gradients;

        // An alias: a conversion to the same dtype may give the tensor itself, which stays the batch's.
        var (a, d) = (factored.Activation.to_type(ScalarType.Float64).alias(), factored.OutputGradient.to_type(ScalarType.Float64).alias());
        factored.Release();
        if (FiniteProducts.AnyNotFinite(a) || FiniteProducts.AnyNotFinite(d))
        {
            // A decomposition would fail without saying for whom.
            FiniteProducts.ThrowNotFinite((a.flatten(1).sum(1) + d.flatten(1).sum(1)).unsqueeze(0), batch.Ids, []);
        }

        return new GradientFactors(a.DetachFromDisposeScope(), d.DetachFromDisposeScope());
    }

    /// <summary>Nuclear norm, effective rank and Frobenius norm of every example's G.</summary>
    /// <returns>Three arrays of B numbers.</returns>
    public double[][] Spectrum()
    {
        using var scope = NewDisposeScope();
        var sigma = SingularValues(); // [B, R]
        var sum = sigma.sum(1, keepdim: true); // [B, 1]
        var p = (sigma / sum).masked_fill(sum.eq(Kept(0)), Kept(0));
        var entropy = (p * p.clamp_min(Kept(1e-300)).log()).sum(1).neg(); // [B], 0 ln 0 = 0
        var rank = entropy.exp().masked_fill(sum.squeeze(1).eq(Kept(0)), Kept(0));
        return [Values(sum.squeeze(1)), Values(rank), Values(linalg.vector_norm(sigma, 2, [1]))];
    }

    /// <summary>What a layer gives that the loss does not depend on: zeros.</summary>
    public static double[][] NoSpectrum(int count) => [new double[count], new double[count], new double[count]];

    /// <summary>&lt;G, G'&gt; / (||G|| ||G'||) of every example; zero where one of them is zero.</summary>
    public static double[] Cosine(GradientFactors? left, GradientFactors? right, double[] leftNorms, double[] rightNorms)
    {
        if (left is null || right is null)
        {
            return new double[leftNorms.Length];
        }

        using var scope = NewDisposeScope();
        var products = Values(left.Products(right));
        return
        [
            .. products.Select(
                (product, i) => leftNorms[i] == 0 || rightNorms[i] == 0 ? 0 : Math.Clamp(product / leftNorms[i] / rightNorms[i], -1, 1)
            ),
        ];
    }

    private Tensor SingularValues()
    {
        if (!FewPositions)
        {
            return linalg.svdvals(Written()); // [B, min(O, I)]
        }

        var (_, rd) = linalg.qr(outputGradient.transpose(1, 2), linalg.QRMode.R); // [B, T, T]
        var (_, ra) = linalg.qr(activation.transpose(1, 2), linalg.QRMode.R); // [B, T, T]
        return linalg.svdvals(rd.bmm(ra.transpose(1, 2))); // [B, T]
    }

    private Tensor Products(GradientFactors other)
    {
        if (!FewPositions || !other.FewPositions)
        {
            return (Written() * other.Written()).flatten(1).sum(1); // [B]
        }

        var a = activation.bmm(other.Activation.transpose(1, 2)); // [B, T, T']
        return a.mul_(outputGradient.bmm(other.OutputGradient.transpose(1, 2))).flatten(1).sum(1);
    }

    private Tensor Activation => activation;

    private Tensor OutputGradient => outputGradient;

    /// <summary>Drops what was written out; it is made anew when it is asked for again.</summary>
    public void Release()
    {
        _written?.Dispose();
        _written = null;
    }

    public void Dispose()
    {
        Release();
        activation.Dispose();
        outputGradient.Dispose();
    }

    private Tensor Written()
    {
        if (_written is null)
        {
            using var scope = NewDisposeScope();
            _written = outputGradient.transpose(1, 2).bmm(activation).DetachFromDisposeScope(); // [B, O, I]
        }

        return _written;
    }

    private static double[] Values(Tensor values) => values.cpu().contiguous().data<double>().ToArray();
}
