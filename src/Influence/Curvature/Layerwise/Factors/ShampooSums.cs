using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Shampoo read as a Fisher matrix: with G the gradient of one example, <c>[O, I']</c>, L = mean of G G' and R = mean of G' G over
/// examples; H is about L (x) R / tr R, and tr R = tr L the mean squared norm. Never of a batch's sum, whose squares depend on the size of
/// batches. The input's basis has the eigenvalues of R / tr R, so that products of eigenvalues are the curvature's.
/// </summary>
internal sealed class ShampooSums(Covariance input, Covariance output) : TracedSums(input, output)
{
    public const string Name = "Shampoo";

    /// <summary>
    /// With few positions from Gram matrices of positions, G' G = sum over s, t of (d_s . d_t) a_s a_t', which are small; else from
    /// gradients written out, some examples at a time.
    /// </summary>
    public override void Add(FactoredGradients gradients)
    {
        using var scope = NewDisposeScope();
        var a = gradients.Bias ? gradients.ActivationWithBias() : gradients.Activation; // [B, T, I']
        var d = gradients.OutputGradient; // [B, T, O]
        var (t, i, o) = (gradients.Positions, a.shape[2], gradients.Outputs);
        var written = Written(t, i, o) < Gram(t, i, o);
        var atOnce = Math.Clamp(KroneckerFit.NumbersAtOnce / (written ? i * o : t * (t + i + o)), 1, Math.Max(1, gradients.Examples));
        for (long start = 0; start < gradients.Examples; start += atOnce)
        {
            using var piece = NewDisposeScope();
            var count = Math.Min(atOnce, gradients.Examples - start);
            var (ownA, ownD) = (a.narrow(0, start, count), d.narrow(0, start, count));
            if (written)
            {
                var g = ownD.transpose(1, 2).bmm(ownA); // [b, O, I']
                Input.Add(g.reshape(-1, i), rows: 0);
                Output.Add(g.transpose(1, 2).reshape(-1, o), rows: 0);
            }
            else
            {
                var (ofA, ofD) = (ownA.bmm(ownA.transpose(1, 2)), ownD.bmm(ownD.transpose(1, 2))); // [b, T, T]
                Input.Add(ownA.reshape(-1, i), ofD.bmm(ownA).reshape(-1, i), rows: 0);
                Output.Add(ownD.reshape(-1, o), ofA.bmm(ownD).reshape(-1, o), rows: 0);
            }
        }
    }

    /// <summary>Multiply-adds of one example, by the cheaper of the two ways.</summary>
    public static double Cost(double t, double i, double o) => Math.Min(Written(t, i, o), Gram(t, i, o));

    public static (Tensor Input, Tensor Output, double Rows) OfGroups(Tensor a, Tensor d)
    {
        var g = einsum("bgto,bgti->bgoi", d, a); // [B, g, O/g, I']
        return (einsum("bgoi,bgoj->gij", g, g), einsum("bgoi,bgpi->gop", g, g), 0);
    }

    /// <summary>The table's gradient of each example has a row for every token in it; the token's factor keeps its diagonal.</summary>
    public static (Tensor Tokens, Tensor Added, Tensor Rows, double Count) OfTable(TokenGradients gradients)
    {
        var (_, token, sums) = gradients.Pairs(); // [U], [U, D]
        return (token, sums.Squared().sum(1).to_type(ScalarType.Float64), sums, 0);
    }

    public override void Finish(FactorBasis output, long examples) => output.Values.div_(Kept(examples));

    private static double Written(double t, double i, double o) => (t * i * o) + (i * o * (i + o));

    private static double Gram(double t, double i, double o) => (2 * t * t * (i + o)) + (t * ((i * i) + (o * o)));
}
