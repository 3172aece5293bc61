using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// TKFAC: A' = mean of |d|^2 a a' and S' = mean of |a|^2 d d' over the positions that count; H is about S' (x) A' / mean of |a|^2 |d|^2,
/// which keeps the trace. With one position an example these are Shampoo's. The input's basis has the eigenvalues of A' / tr A', so that
/// products of eigenvalues are the curvature's.
/// </summary>
internal sealed class TkfacSums(Covariance input, Covariance output) : TracedSums(input, output)
{
    public const string Name = "TKFAC";

    public override void Add(FactoredGradients gradients)
    {
        using var scope = NewDisposeScope();
        var a = (gradients.Bias ? gradients.ActivationWithBias() : gradients.Activation).reshape(
            gradients.Examples * gradients.Positions,
            -1
        );
        var d = gradients.OutputGradient.reshape(-1, gradients.Outputs); // [R, O]; zero at positions that do not count
        var rows = gradients.CountedPositions();
        Input.Add(a, a * d.Squared().sum(1, keepdim: true), rows);
        Output.Add(d, d * a.Squared().sum(1, keepdim: true), rows);
    }

    public static (Tensor Input, Tensor Output, double Rows) OfGroups(Tensor a, Tensor d)
    {
        return (Weighed(a, d), Weighed(d, a), (double)d.shape[0] * d.shape[2]);

        static Tensor Weighed(Tensor x, Tensor by) => einsum("bgti,bgtj->gij", x * by.Squared().sum(-1, keepdim: true), x); // [g, n, n]
    }

    /// <summary>A token is an input of length one: |a|^2 = 1.</summary>
    public static (Tensor Tokens, Tensor Added, Tensor Rows, double Count) OfTable(TokenGradients gradients)
    {
        var (tokens, _, rows, count) = KfacSums.OfTable(gradients);
        return (tokens, rows.Squared().sum(1).to_type(ScalarType.Float64), rows, count);
    }
}
