using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>The curvature of a convolution with groups of channels: one Kronecker product a group.</summary>
/// <param name="input">Q_A of every group, <c>[g, I', I']</c>.</param>
/// <param name="output">Q_G of every group, <c>[g, O/g, O/g]</c>.</param>
/// <param name="eigenvalues"><c>[g, O/g, I']</c>.</param>
internal sealed class GroupedCurvature(Tensor input, Tensor output, Tensor eigenvalues) : BlockCurvature
{
    public override long Size => eigenvalues.numel();

    public override double MeanEigenvalue
    {
        get
        {
            using var scope = NewDisposeScope();
            return eigenvalues.to_type(ScalarType.Float64).mean().item<double>();
        }
    }

    public override BlockInverse Map(Func<Tensor, Tensor> weights) =>
        new GroupedInverse(input, output, weights(eigenvalues).DetachFromDisposeScope());

    public override Tensor[] Diagonal(bool bias)
    {
        var diagonal = einsum("gop,gpj,gij->goi", output.Squared(), eigenvalues, input.Squared()); // [g, O/g, I']
        return Parts(diagonal.reshape(-1, diagonal.shape[2]), bias);
    }

    public override IEnumerable<(string Name, Tensor Value)> Tensors() =>
        [("input.vectors", input), ("output.vectors", output), ("eigenvalues", eigenvalues)];

    public override void Dispose()
    {
        input.Dispose();
        output.Dispose();
        eigenvalues.Dispose();
    }

    private sealed class GroupedInverse(Tensor input, Tensor output, Tensor weights) : BlockInverse
    {
        public override BlockGradients Apply(BlockGradients gradients) =>
            new DenseGradients(gradients.Examples, () => Dense(gradients)) { Size = weights.numel() };

        public override Tensor[] Dense(BlockGradients gradients)
        {
            using var scope = NewDisposeScope();
            var spectrum = gradients.GroupedSpectrum(input, output).mul_(weights); // [B, g, O/g, I']
            var back = einsum("gpo,bgoi,gji->bgpj", output, spectrum, input); // [B, g, O/g, I]
            var bias = gradients.HasBias;
            var inputs = back.shape[3] - (bias ? 1 : 0);
            var parts = new List<Tensor> { back.narrow(3, 0, inputs).reshape(gradients.Examples, -1).MoveToOuterDisposeScope() };
            if (bias)
            {
                parts.Add(back.select(3, inputs).reshape(gradients.Examples, -1).MoveToOuterDisposeScope());
            }

            return [.. parts];
        }

        public override Tensor SelfProducts(BlockGradients gradients)
        {
            using var scope = NewDisposeScope();
            return gradients.GroupedSpectrum(input, output).Squared().mul_(weights).flatten(1).sum(1).MoveToOuterDisposeScope();
        }

        public override void Dispose() => weights.Dispose();
    }
}
