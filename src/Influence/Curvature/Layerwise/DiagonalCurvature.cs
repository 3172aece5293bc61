using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>The mean squared gradient of every element: norms, biases on their own, and whatever has no factors.</summary>
/// <param name="values">One part a parameter, <c>[P_k]</c>.</param>
internal sealed class DiagonalCurvature(Tensor[] values) : BlockCurvature
{
    public override long Size => values.Sum(v => v.numel());

    public override double MeanEigenvalue
    {
        get
        {
            using var scope = NewDisposeScope();
            return values.Sum(v => v.to_type(ScalarType.Float64).sum().item<double>()) / values.Sum(v => v.numel());
        }
    }

    public override BlockInverse Map(Func<Tensor, Tensor> weights) =>
        new DiagonalInverse([.. values.Select(v => weights(v).DetachFromDisposeScope())]);

    public override Tensor[] Diagonal(bool bias) => [.. values.Select(v => v.alias())];

    public override IEnumerable<(string Name, Tensor Value)> Tensors() => values.Select((v, k) => ($"diagonal.{k}", v));

    public override void Dispose()
    {
        foreach (var value in values)
        {
            value.Dispose();
        }
    }

    /// <param name="weights">1/(eigenvalue + damping), one part a parameter.</param>
    private sealed class DiagonalInverse(Tensor[] weights) : BlockInverse
    {
        public override BlockGradients Apply(BlockGradients gradients) =>
            new DenseGradients(gradients.Examples, () => Dense(gradients)) { Size = weights.Sum(w => w.numel()) };

        public override Tensor[] Dense(BlockGradients gradients) => [.. gradients.Dense().Zip(weights, (g, w) => g * w)];

        public override Tensor SelfProducts(BlockGradients gradients)
        {
            using var scope = NewDisposeScope();
            var parts = gradients.Dense();
            var total = parts[0].Squared().mv(weights[0]);
            for (var k = 1; k < parts.Length; k++)
            {
                total.add_(parts[k].Squared().mv(weights[k]));
            }

            return total.MoveToOuterDisposeScope();
        }

        public override void Dispose()
        {
            foreach (var weight in weights)
            {
                weight.Dispose();
            }
        }
    }
}
