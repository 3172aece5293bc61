using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The curvature of a linear layer (a convolution over its patches is one): the basis Q_G (x) Q_A of the eigenvectors of the
/// output gradients' and the activations' covariances, and eigenvalues <c>[O, I']</c> along it, I' = I + 1 with a bias.
/// K-FAC's are the products of the covariances' own; EK-FAC's are measured (George et al. 2018).
/// </summary>
/// <param name="input">The basis of the activations; may be shared with layers that see the same input.</param>
/// <param name="output">The basis of the output gradients.</param>
/// <param name="eigenvalues"><c>[O, I']</c>; null: the products of the bases' eigenvalues.</param>
internal sealed class KroneckerCurvature(FactorBasis input, FactorBasis output, Tensor? eigenvalues) : BlockCurvature
{
    public FactorBasis Input => input;

    public FactorBasis Output => output;

    public override long Size => input.Size * output.Size;

    public override double MeanEigenvalue
    {
        get
        {
            using var scope = NewDisposeScope();
            return eigenvalues is null
                ? input.Values.mean().item<double>() * output.Values.mean().item<double>()
                : eigenvalues.to_type(ScalarType.Float64).mean().item<double>();
        }
    }

    public override BlockInverse Invert(double damping)
    {
        using var scope = NewDisposeScope();
        return new KroneckerInverse(
            input,
            output,
            Reciprocal(Eigenvalues(), damping).DetachFromDisposeScope(),
            damping,
            separable: eigenvalues is null
        );
    }

    /// <summary>Without a damping to bound errors by, products are exact.</summary>
    public override BlockInverse Map(Func<Tensor, Tensor> weights)
    {
        using var scope = NewDisposeScope();
        return new KroneckerInverse(input, output, weights(Eigenvalues()).DetachFromDisposeScope(), damping: 0, separable: false);
    }

    public override Tensor[] Diagonal(bool bias)
    {
        var right = input.SquaredRotateBack(Eigenvalues()); // [O, I']
        return Parts(output.SquaredRotateBack(right.t()).t(), bias);
    }

    public override IEnumerable<(string Name, Tensor Value)> Tensors()
    {
        var tensors = BasisTensors("input", input).Concat(BasisTensors("output", output));
        return eigenvalues is null ? tensors : tensors.Append(("eigenvalues", eigenvalues));
    }

    public static IEnumerable<(string Name, Tensor Value)> BasisTensors(string name, FactorBasis basis) =>
        basis.Vectors.Select((v, k) => ($"{name}.vectors.{k}", v)).Append(($"{name}.values", basis.Values));

    public override void Dispose()
    {
        // Shared inputs are disposed by each layer that has them: all of them go together.
        input.Dispose();
        output.Dispose();
        eigenvalues?.Dispose();
    }

    private Tensor Eigenvalues()
    {
        var vectors = output.Vectors[0];
        return eigenvalues ?? output.Values.outer(input.Values).to_type(vectors.dtype).to(vectors.device); // [O, I']
    }
}
