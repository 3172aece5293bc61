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
        public override BlockGradients Apply(BlockGradients gradients)
        {
            if (gradients is not TokenGradients tokens)
            {
                return new DenseGradients(gradients.Examples, () => Dense(gradients));
            }

            using var scope = NewDisposeScope();
            // Not in place: without a basis, and between tables whose outputs are added, this is the captured gradient itself.
            var d = output.Rotate(tokens.OutputGradient); // [B, T, D]
            var scaled = d * weights.index_select(0, tokens.Tokens.reshape(-1)).reshape(d.shape);
            return new TokenGradients(tokens.Tokens, output.RotateBack(scaled).MoveToOuterDisposeScope(), tokens.Vocabulary);
        }

        public override Tensor[] Dense(BlockGradients gradients)
        {
            if (gradients is TokenGradients)
            {
                return Apply(gradients).Dense();
            }

            // The block keeps what it writes out: that is made outside of this scope.
            var written = gradients.Dense()[0];
            using var scope = NewDisposeScope();
            var table = written.reshape(gradients.Examples, -1, output.Size); // [B, V, D]
            return [output.RotateBack(output.Rotate(table) * weights).reshape(gradients.Examples, -1).MoveToOuterDisposeScope()];
        }

        public override Tensor SelfProducts(BlockGradients gradients) => Sum(gradients, weights);

        public override Tensor SquaredNorms(BlockGradients gradients)
        {
            using var squares = weights.Squared();
            return Sum(gradients, squares);
        }

        public override void Dispose() => weights.Dispose();

        private Tensor Sum(BlockGradients block, Tensor factors)
        {
            var written = block is TokenGradients ? null : block.Dense()[0];
            using var scope = NewDisposeScope();
            if (block is not TokenGradients gradients)
            {
                var table = output.Rotate(written!.reshape(block.Examples, -1, output.Size));
                return (table.Squared() * factors).sum(1, 2).MoveToOuterDisposeScope();
            }

            var (example, token, sums) = gradients.Pairs(); // [U], [U], [U, D]
            var terms = output.Rotate(sums).Squared().mul_(factors.index_select(0, token)).sum(1);
            var total = zeros([gradients.Examples], sums.dtype, sums.device);
            return total.index_add_(0, example, terms, Kept(1)).MoveToOuterDisposeScope();
        }
    }
}
