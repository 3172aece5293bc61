using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Second derivatives, which fused operators do not have: what asks for them says what to use instead.</summary>
internal static class TwiceDifferentiable
{
    /// <summary>The gradients of a number that is made of first derivatives.</summary>
    /// <param name="first">The number.</param>
    /// <param name="inputs">Those to differentiate by.</param>
    /// <param name="ids">The batch's.</param>
    /// <param name="need">What needs second derivatives, with its verb.</param>
    /// <param name="instead">What to ask for instead.</param>
    /// <param name="graph">What becomes of the number's graph.</param>
    /// <returns>One for each input, flat, <c>[P]</c>; null where the number does not depend on it.</returns>
    /// <exception cref="InfluenceException">It cannot be differentiated.</exception>
    public static Tensor?[] Gradients(
        Tensor first,
        IReadOnlyList<Tensor> inputs,
        IReadOnlyList<long> ids,
        string need,
        string instead,
        GraphAfter graph = GraphAfter.Freed
    )
    {
        try
        {
            return [.. GuardedBackward.Gradients([first], inputs, graph, ids: ids).Select(gradient => gradient.Strided()?.reshape(-1))];
        }
        catch (InfluenceException exception) when (BackwardFailure.LacksDerivative(exception))
        {
            throw new InfluenceException(
                $"The model cannot be differentiated twice, which {need}: "
                    + $"{BackwardFailure.FirstLine(exception.InnerException!).TrimEnd('.')}. "
                    + $"Write fused operators out (attention as softmax(QK'/sqrt d)V), or {instead}.",
                exception.InnerException
            );
        }
    }
}
