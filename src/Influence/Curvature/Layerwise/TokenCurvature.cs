using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The curvature of an embedding table: inputs are one-hot, so their covariance is diagonal and the basis along the
/// vocabulary is the tokens themselves. Tokens that the fit never saw have eigenvalue zero: the damping alone bounds them.
/// </summary>
/// <param name="output">The basis of the output gradients' covariance, D.</param>
/// <param name="eigenvalues"><c>[V, D]</c>.</param>
internal sealed class TokenCurvature(FactorBasis output, Tensor eigenvalues) : BlockCurvature
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
        new TokenInverse(output, weights(eigenvalues).DetachFromDisposeScope());

    public override Tensor[] Diagonal(bool bias) => [output.SquaredRotateBack(eigenvalues).reshape(-1)];

    public override IEnumerable<(string Name, Tensor Value)> Tensors() =>
        KroneckerCurvature.BasisTensors("output", output).Append(("eigenvalues", eigenvalues));

    public override void Dispose()
    {
        output.Dispose();
        eigenvalues.Dispose();
    }

    /// <param name="output">The basis.</param>
    /// <param name="weights">1/(eigenvalue + damping), <c>[V, D]</c>.</param>
    private sealed class TokenInverse(FactorBasis output, Tensor weights) : BlockInverse
    {
        /// <summary>Every position's share is scaled by its own token's weights, so that no table is written out.</summary>
        public override BlockGradients Apply(BlockGradients gradients) =>
            gradients.ScaledTable(weights, output.Rotate, output.RotateBack)
            ?? new DenseGradients(gradients.Examples, () => Dense(gradients));

        public override Tensor[] Dense(BlockGradients gradients)
        {
            if (gradients.ScaledTable(weights, output.Rotate, output.RotateBack) is { } scaled)
            {
                return scaled.Dense();
            }

            // The block keeps what it writes out: that is made outside of this scope.
            var written = gradients.Dense()[0];
            using var scope = NewDisposeScope();
            var table = written.reshape(gradients.Examples, -1, output.Size); // [B, V, D]
            return [output.RotateBack(output.Rotate(table) * weights).reshape(gradients.Examples, -1).MoveToOuterDisposeScope()];
        }

        public override Tensor SelfProducts(BlockGradients gradients) => gradients.WeightedTableSquares(weights, output.Rotate);

        public override Tensor SquaredNorms(BlockGradients gradients)
        {
            using var squares = weights.Squared();
            return gradients.WeightedTableSquares(squares, output.Rotate);
        }

        public override void Dispose() => weights.Dispose();
    }
}
