using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>Q_G' G Q_A of every example, <c>[B, O, I']</c>, by the cheaper of two ways.</summary>
internal static class KroneckerSpectrum
{
    public static Tensor Of(FactoredGradients factors, FactorBasis input, FactorBasis output)
    {
        using var scope = NewDisposeScope();
        var (t, i, o) = ((double)factors.Positions, (double)input.Size, (double)output.Size);
        var a = factors.Bias ? factors.ActivationWithBias() : factors.Activation;       // [B, T, I']
        if (t * ((i * i) + (o * o)) <= o * i * (o + i))
        {
            // Rotate the factors, then multiply.
            var rotated = output.Rotate(factors.OutputGradient);                        // [B, T, O]
            return rotated.transpose(1, 2).bmm(input.Rotate(a)).MoveToOuterDisposeScope();
        }

        // Multiply, then rotate the gradient.
        var gradient = factors.OutputGradient.transpose(1, 2).bmm(a);                   // [B, O, I']
        return Rotate(gradient, input, output).MoveToOuterDisposeScope();
    }

    /// <summary>The same from gradients written out: weights <c>[B, O*I]</c>, and the bias <c>[B, O]</c> where there is one.</summary>
    public static Tensor Of(Tensor[] parts, FactorBasis input, FactorBasis output)
    {
        using var scope = NewDisposeScope();
        var weight = parts[0].reshape(parts[0].shape[0], output.Size, -1);              // [B, O, I]
        return Rotate(parts.Length == 1 ? weight : cat([weight, parts[1].unsqueeze(2)], 2), input, output).MoveToOuterDisposeScope();
    }

    private static Tensor Rotate(Tensor gradient, FactorBasis input, FactorBasis output)
    {
        var right = input.Rotate(gradient);                                             // [B, O, I']
        return output.Rotate(right.transpose(1, 2)).transpose(1, 2).contiguous();
    }
}
