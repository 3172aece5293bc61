using Influence.Benchmarks.Floors;

namespace Influence.Benchmarks.Workloads;

/// <summary>The sizes of a decoder over bytes.</summary>
/// <param name="Layers">Blocks of attention and MLP.</param>
/// <param name="Width">D.</param>
/// <param name="Heads">Attention heads; they divide the width.</param>
/// <param name="Positions">T.</param>
internal sealed record DecoderSize(int Layers, long Width, long Heads, long Positions)
{
    public const long Vocabulary = 256;

    public const long MlpFactor = 4;

    private static readonly string[] AttentionLayers = ["q", "k", "v", "o"];

    public static DecoderSize Benchmark { get; } = new(4, 128, 4, 128);

    /// <summary>Every linear layer, and what attention adds: QK' and its product with V, two T x T x D products each.</summary>
    public ModelShape Shape()
    {
        var layers = new List<LayerShape>();
        for (var i = 0; i < Layers; i++)
        {
            layers.AddRange(AttentionLayers.Select(name => new LayerShape($"{i}.{name}", Positions, Width, Width, SharesInput: name is "k" or "v")));
            layers.Add(new LayerShape($"{i}.up", Positions, Width, MlpFactor * Width));
            layers.Add(new LayerShape($"{i}.down", Positions, MlpFactor * Width, Width));
        }

        layers.Add(new LayerShape("head", Positions, Width, Vocabulary));
        return new ModelShape(layers)
        {
            ForwardWithoutParameters = 2.0 * Layers * Positions * Positions * Width,
            BackwardWithoutParameters = 4.0 * Layers * Positions * Positions * Width,

            // The norms' gains and biases, and the rows of both embedding tables that an example can touch.
            OtherGradientElements = (((2.0 * Layers) + 1) * 2 * Width) + (2.0 * Positions * Width),
        };
    }
}
