using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// y = a W + b with the weight <c>[I, O]</c>, its inputs in rows: the linear layer of GPT-2, which calls it Conv1D. With it the weights of
/// such a model are used as they were saved, and its gradients come from one batched pass as those of Linear do.
/// </summary>
/// <remarks>
/// <para>
/// The gradient of an example is the sum over its positions of a_t d_t'. Layer-wise curvature takes the weight as that of a linear layer
/// without a bias, a Kronecker product of the covariances of activations and output gradients, and the bias by its diagonal. A model's own
/// such layer goes the same way where it derives from this one; a type of its own takes a <see cref="LayerRule{TLayer}"/>.
/// </para>
/// <para>Cost: that of Linear. Reference: Radford et al., Language Models are Unsupervised Multitask Learners, 2019.</para>
/// </remarks>
/// <example>
/// <code>
/// var projection = new TransposedLinear(768, 2304);
/// using var y = projection.call(x);                                       // [B, T, 768] to [B, T, 2304]
/// </code>
/// </example>
public class TransposedLinear : nn.Module<Tensor, Tensor>
{
    /// <summary>Makes the layer; the weight is drawn from a normal distribution with standard deviation 0.02, the bias is zero.</summary>
    /// <param name="inputs">I.</param>
    /// <param name="outputs">O.</param>
    /// <param name="hasBias">Whether there is a bias.</param>
    /// <param name="device">Where the parameters are; null for TorchSharp's default.</param>
    /// <param name="dtype">Their type; null for TorchSharp's default.</param>
    /// <exception cref="InfluenceException">Fewer than one input or output.</exception>
    public TransposedLinear(long inputs, long outputs, bool hasBias = true, Device? device = null, ScalarType? dtype = null)
        : base(nameof(TransposedLinear))
    {
        if (inputs < 1 || outputs < 1)
        {
            throw new InfluenceException($"A TransposedLinear of {inputs} inputs and {outputs} outputs; expected at least one of each.");
        }

        var weight = nn.Parameter(empty([inputs, outputs], dtype, device));
        nn.init.normal_(weight, 0, 0.02);
        register_parameter("weight", weight);
        if (hasBias)
        {
            register_parameter("bias", nn.Parameter(zeros([outputs], dtype, device)));
        }
    }

    /// <summary>a W + b.</summary>
    /// <param name="input">a, <c>[..., I]</c>.</param>
    /// <returns><c>[..., O]</c>.</returns>
    public override Tensor forward(Tensor input)
    {
        using var outputsFirst = get_parameter("weight")!.t();
        return nn.functional.linear(input, outputsFirst, get_parameter("bias"));
    }
}
