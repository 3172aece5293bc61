using Influence.Gradients;
using static TorchSharp.torch;

namespace Influence.PublicTests;

/// <summary>The gain's gradient: the normalised input times the output's gradient, summed over positions.</summary>
public sealed class RmsNormRule : LayerRule<RmsNorm>
{
    public override bool PositionsLead => true;

    public override Tensor WeightGradients(RmsNorm layer, LayerTrace trace) =>
        (RmsNorm.Normalize(trace.Activation) * trace.OutputGradient) // [B*k, T, I]
            .reshape(trace.Rows, -1, trace.Activation.shape[^1])
            .sum(1); // [B*k, I]
}

/// <summary>A rule that forgets the normalisation.</summary>
public sealed class WrongRule : LayerRule<WrongRule.Layer>
{
    public override Tensor WeightGradients(Layer layer, LayerTrace trace) =>
        trace.OutputGradient.reshape(trace.Rows, -1, trace.OutputGradient.shape[^1]).sum(1);

    /// <summary>y = weight * x.</summary>
    public sealed class Layer : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Parameter weight;

        public Layer(long size)
            : base("Layer")
        {
            weight = nn.Parameter(ones(size, dtype: ScalarType.Float64));
            RegisterComponents();
        }

        public override Tensor forward(Tensor input) => input * weight;
    }
}
