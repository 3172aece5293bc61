using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Language;

/// <summary>
/// A decoder over bytes: embeddings of the byte, of the one before it and of the position, blocks of attention and MLP, a last
/// norm and a linear head. The byte before spares a small model the long while until attention has learnt to look there.
/// </summary>
internal sealed class ByteDecoder : nn.Module<Tensor, Tensor>
{
    public const int Vocabulary = 256;
    private const int Heads = 4;

    private readonly nn.Module<Tensor, Tensor> tokens;
    private readonly nn.Module<Tensor, Tensor> previous;
    private readonly nn.Module<Tensor, Tensor> positions;
    private readonly TorchSharp.Modules.ModuleList<nn.Module<Tensor, Tensor>> blocks;
    private readonly nn.Module<Tensor, Tensor> norm;
    private readonly nn.Module<Tensor, Tensor> head;

    private ByteDecoder(int layers, int width)
        : base(nameof(ByteDecoder))
    {
        tokens = nn.Embedding(Vocabulary, width);
        previous = nn.Embedding(Vocabulary, width);
        positions = nn.Embedding(PassageTensors.Positions, width);
        blocks = nn.ModuleList<nn.Module<Tensor, Tensor>>([.. Enumerable.Range(0, layers).Select(_ => new DecoderBlock(width, Heads))]);
        norm = nn.LayerNorm(width);
        head = nn.Linear(width, Vocabulary);
        RegisterComponents();
    }

    public long ParameterCount => parameters().Sum(p => p.numel());

    public static ByteDecoder Create(int seed, int layers, int width)
    {
        manual_seed(Randomness.SeedFor(seed, "initial weights"));
        return new ByteDecoder(layers, width);
    }

    /// <summary>The layers of attention and MLP, by parameter name: not the embeddings, the norms and the head.</summary>
    public static bool IsAttentionOrMlp(string parameter) =>
        parameter.StartsWith($"{nameof(blocks)}.", StringComparison.Ordinal) && !parameter.Contains("Norm.", StringComparison.Ordinal);

    /// <param name="input">Bytes, <c>[B, T]</c>, int64.</param>
    /// <returns>Logits of the next byte, <c>[B, T, 256]</c>.</returns>
    public override Tensor forward(Tensor input)
    {
        var place = arange(0, input.shape[1], 1, ScalarType.Int64, input.device); // [T]
        var before = cat([zeros_like(input.narrow(1, 0, 1)), input.narrow(1, 0, input.shape[1] - 1)], 1); // [B, T]
        var x = tokens.call(input) + previous.call(before) + positions.call(place); // [B, T, D]
        foreach (var block in blocks)
        {
            x = block.call(x);
        }

        return head.call(norm.call(x));
    }
}
