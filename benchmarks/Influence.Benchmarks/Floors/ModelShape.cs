namespace Influence.Benchmarks.Floors;

/// <summary>What a model's passes cost, from its layers' shapes; multiply-adds of one example.</summary>
/// <param name="Layers">The layers with large weights.</param>
internal sealed record ModelShape(IReadOnlyList<LayerShape> Layers)
{
    /// <summary>Products of activations with each other, as in attention.</summary>
    public double ForwardWithoutParameters { get; init; }

    /// <summary>The same in the backward pass.</summary>
    public double BackwardWithoutParameters { get; init; }

    /// <summary>Elements of the gradient that the layers do not count: norms, and rows of embedding tables.</summary>
    public double OtherGradientElements { get; init; }

    public double Forward => Layers.Sum(layer => layer.Pass) + ForwardWithoutParameters;

    /// <summary>The backward pass to the layers' outputs, without any gradient of a weight.</summary>
    public double BackwardToOutputs => Layers.Where(layer => layer.InputGradient).Sum(layer => layer.Pass) + BackwardWithoutParameters;

    /// <summary>What per-example gradients take before they are multiplied out.</summary>
    public double Capture => Forward + BackwardToOutputs;

    public double WeightGradients => Layers.Sum(layer => layer.Pass);
}
