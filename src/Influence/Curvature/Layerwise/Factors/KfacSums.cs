using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// K-FAC: A = mean of a a' and G = mean of d d', each over the positions that count. Layers that see the same input share A.
/// </summary>
internal sealed class KfacSums(InputCovariance input, Covariance output) : FactorSums
{
    public override void Add(FactoredGradients gradients)
    {
        if (!input.TryAdd(gradients))
        {
            throw new InfluenceException(
                "Layers that saw the same input in the first batch see different ones now. Fit them in calls of their own, by Layers = "
                    + "LayerSelection.Where(...)."
            );
        }

        output.Add(gradients.OutputGradient.reshape(-1, gradients.Outputs), gradients.CountedPositions());
    }

    public static (Tensor Input, Tensor Output, double Rows) OfGroups(Tensor a, Tensor d)
    {
        return (Moments(a), Moments(d), (double)d.shape[0] * d.shape[2]);

        static Tensor Moments(Tensor x) => einsum("bgti,bgtj->gij", x, x); // [g, n, n]
    }

    /// <summary>How often each token is, and the output gradients of the positions that count.</summary>
    public static (Tensor Tokens, Tensor Added, Tensor Rows, double Count) OfTable(TokenGradients gradients)
    {
        var place = gradients.Tokens.reshape(-1); // [B*T]
        var counted = gradients.Mask is null
            ? ones([place.shape[0]], ScalarType.Float64, place.device)
            : gradients.Mask.reshape(-1).to_type(ScalarType.Float64);
        return (place, counted, gradients.OutputGradient.reshape(-1, gradients.Width), counted.sum().item<double>());
    }

    public override bool IsFinite => input.IsFinite && output.IsFinite;

    public override (FactorBasis Input, FactorBasis Output) Decompose(ScalarType dtype) =>
        (input.Decompose(dtype), output.Decompose(dtype));

    public override void Exchange(FitState state)
    {
        input.Exchange(state, FitStage.Sums);
        output.Exchange(state, "output");
    }

    public override void ExchangeBases(FitState state, ref FactorBasis? input1, ref FactorBasis? output1)
    {
        input1 = input.Exchange(state, FitStage.Bases);
        state.Basis("output", ref output1);
    }

    /// <summary>The input's sums are everyone's who shares them.</summary>
    public override void Dispose() => output.Dispose();
}
