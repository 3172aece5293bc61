using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Whether a gradient can be differentiated again, asked where an error can be caught.</summary>
internal static class TwiceDifferentiable
{
    /// <summary>
    /// By backward, which throws what grad does not: an operator without a second derivative ends the process in the latter. The
    /// leaves' own gradients are put back.
    /// </summary>
    /// <param name="first">A number made of first derivatives; its graph is freed.</param>
    /// <param name="leaves">What it depends on: every leaf of the graph where <paramref name="inputs"/> is null.</param>
    /// <param name="inputs">The leaves that backward is confined to; null for all.</param>
    /// <param name="need">What needs second derivatives, with its verb.</param>
    /// <param name="instead">What to ask for instead.</param>
    /// <exception cref="InfluenceException">It cannot.</exception>
    public static void Check(Tensor first, IReadOnlyList<Tensor> leaves, IList<Tensor>? inputs, string need, string instead)
    {
        var before = leaves.Select(leaf => leaf.grad).ToArray();
        try
        {
            // Backward adds to what is there, in place.
            foreach (var leaf in leaves)
            {
                leaf.grad = null;
            }

            autograd.backward([first], retain_graph: false, inputs: inputs);
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
