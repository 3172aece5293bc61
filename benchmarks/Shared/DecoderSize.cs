namespace Influence.Benchmarks.Shared;

/// <summary>The sizes of a decoder over bytes.</summary>
/// <param name="Layers">Blocks of attention and MLP.</param>
/// <param name="Width">D.</param>
/// <param name="Heads">Attention heads; they divide the width.</param>
/// <param name="Positions">T.</param>
internal sealed record DecoderSize(int Layers, long Width, long Heads, long Positions)
{
    public const long Vocabulary = 256;

    public const long MlpFactor = 4;

    public static DecoderSize Benchmark { get; } = new(4, 128, 4, 128);
}
