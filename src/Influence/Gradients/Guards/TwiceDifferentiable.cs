using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Second derivatives taken where an error can be caught.</summary>
internal static class TwiceDifferentiable
{
    /// <summary>
    /// By backward, which throws what grad does not: an operator without a second derivative, which shapes may decide, ends the
    /// process in the latter. The leaves' own gradients are put back.
    /// </summary>
    /// <param name="first">A number made of first derivatives; its graph is freed.</param>
    /// <param name="leaves">The leaves that backward may write a gradient to.</param>
    /// <param name="inputs">Those to differentiate by.</param>
    /// <param name="need">What needs second derivatives, with its verb.</param>
    /// <param name="instead">What to ask for instead.</param>
    /// <returns>One for each input, flat, <c>[P]</c>; null where the number does not depend on it.</returns>
    /// <exception cref="InfluenceException">It cannot be differentiated.</exception>
    public static Tensor?[] Gradients(Tensor first, IReadOnlyList<Tensor> leaves, IReadOnlyList<Tensor> inputs, string need, string instead)
    {
        var before = leaves.Select(leaf => leaf.grad).ToArray();
        try
        {
            // Backward adds to what is there, in place.
            foreach (var leaf in leaves)
            {
                leaf.grad = null;
            }

            autograd.backward([first], retain_graph: false, inputs: [.. inputs]);
            return [.. inputs.Select(input => input.grad is { } grad ? (grad.is_sparse ? grad.to_dense() : grad).detach().reshape(-1) : null)];
        }
        catch (Exception exception) when (exception is not OutOfMemoryException)
        {
            throw new InfluenceException(
                $"The model cannot be differentiated twice, which {need}: {exception.Message.Split('\n')[0].TrimEnd('.')}. " +
                $"Write fused operators out (attention as softmax(QK'/sqrt d)V), or {instead}.",
                exception);
        }
        finally
        {
            for (var k = 0; k < leaves.Count; k++)
            {
                leaves[k].grad = before[k];
            }
        }
    }
}
