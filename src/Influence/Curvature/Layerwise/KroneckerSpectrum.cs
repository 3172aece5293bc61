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
        Tensor? whole = null;
        Visit(factors, input, output, long.MaxValue, (_, spectrum) => whole = spectrum.DetachFromDisposeScope());
        scope.Attach(whole!);
        return whole!.MoveToOuterDisposeScope();
    }

    /// <summary>The same, for some examples at a time: small pieces stay in the processor's caches, and their memory is used
    /// again.</summary>
    /// <param name="factors">The gradients.</param>
    /// <param name="input">Q_A.</param>
    /// <param name="output">Q_G.</param>
    /// <param name="numbersAtOnce">How many numbers a piece has at most; one example is never cut.</param>
    /// <param name="visit">Takes the first example's position and the piece, <c>[b, O, I']</c>, which it may write to and which is gone
    /// afterwards.</param>
    public static void Visit(
        FactoredGradients factors,
        FactorBasis input,
        FactorBasis output,
        long numbersAtOnce,
        Action<long, Tensor> visit
    )
    {
        using var scope = NewDisposeScope();
        var (t, i, o) = ((double)factors.Positions, (double)input.Size, (double)output.Size);
        var a = factors.Bias ? factors.ActivationWithBias() : factors.Activation; // [B, T, I']

        // Rotate the factors, then multiply; or multiply, then rotate the gradient.
        var rotateFirst = t * ((i * i) + (o * o)) <= o * i * (o + i);
        var left = (rotateFirst ? output.Rotate(factors.OutputGradient) : factors.OutputGradient).transpose(1, 2); // [B, O, T]
        var right = rotateFirst ? input.Rotate(a) : a;
        var atOnce = Math.Clamp(numbersAtOnce / (input.Size * output.Size), 1, Math.Max(1, factors.Examples));
        for (long start = 0; start < factors.Examples; start += atOnce)
        {
            using var piece = NewDisposeScope();
            var count = Math.Min(atOnce, factors.Examples - start);
            var product = left.narrow(0, start, count).bmm(right.narrow(0, start, count)); // [b, O, I']
            visit(start, rotateFirst ? product : Rotate(product, input, output));
        }
    }

    /// <summary>The same from gradients written out: weights <c>[B, O*I]</c>, and the bias <c>[B, O]</c> where there is one.</summary>
    public static Tensor Of(Tensor[] parts, FactorBasis input, FactorBasis output)
    {
        using var scope = NewDisposeScope();
        var weight = parts[0].reshape(parts[0].shape[0], output.Size, -1); // [B, O, I]
        return Rotate(parts.Length == 1 ? weight : cat([weight, parts[1].unsqueeze(2)], 2), input, output).MoveToOuterDisposeScope();
    }

    private static Tensor Rotate(Tensor gradient, FactorBasis input, FactorBasis output)
    {
        var right = input.Rotate(gradient); // [B, O, I']
        return output.Rotate(right.transpose(1, 2)).transpose(1, 2).contiguous();
    }
}
