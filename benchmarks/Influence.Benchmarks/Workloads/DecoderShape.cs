using Influence.Benchmarks.Floors;

namespace Influence.Benchmarks.Workloads;

/// <summary>The work of a decoder, counted from its sizes.</summary>
internal static class DecoderShape
{
    private static readonly string[] AttentionLayers = ["q", "k", "v", "o"];

    /// <summary>Every linear layer, and what attention adds: QK' and its product with V, two T x T x D products each.</summary>
    public static ModelShape Shape(this DecoderSize size)
    {
        var layers = new List<LayerShape>();
        for (var i = 0; i < size.Layers; i++)
        {
            layers.AddRange(
                AttentionLayers.Select(name => new LayerShape(
                    $"{i}.{name}",
                    size.Positions,
                    size.Width,
                    size.Width,
                    SharesInput: name is "k" or "v"
                ))
            );
            layers.Add(new LayerShape($"{i}.up", size.Positions, size.Width, DecoderSize.MlpFactor * size.Width));
            layers.Add(new LayerShape($"{i}.down", size.Positions, DecoderSize.MlpFactor * size.Width, size.Width));
        }

        layers.Add(new LayerShape("head", size.Positions, size.Width, DecoderSize.Vocabulary));
        return new ModelShape(layers)
        {
            ForwardWithoutParameters = 2.0 * size.Layers * size.Positions * size.Positions * size.Width,
            BackwardWithoutParameters = 4.0 * size.Layers * size.Positions * size.Positions * size.Width,

            // The norms' gains and biases, and the rows of both embedding tables that an example can touch.
            OtherGradientElements = (((2.0 * size.Layers) + 1) * 2 * size.Width) + (2.0 * size.Positions * size.Width),
        };
    }
}
