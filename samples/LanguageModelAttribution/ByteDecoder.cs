using TorchSharp;
using static TorchSharp.torch;

namespace LanguageModelAttribution;

/// <summary>
/// A decoder over bytes: token and position embeddings, blocks of attention and MLP, a last norm and a linear head.
/// </summary>
internal sealed class ByteDecoder : nn.Module<Tensor, Tensor>
{
    public const int Vocabulary = 256;
    private const int Layers = 3;
    private const int Width = 160;
    private const int Heads = 4;

    private readonly nn.Module<Tensor, Tensor> tokens = nn.Embedding(Vocabulary, Width);
    private readonly nn.Module<Tensor, Tensor> positions = nn.Embedding(PassageTensors.Positions, Width);
    private readonly TorchSharp.Modules.ModuleList<nn.Module<Tensor, Tensor>> blocks =
        nn.ModuleList<nn.Module<Tensor, Tensor>>([.. Enumerable.Range(0, Layers).Select(_ => new DecoderBlock(Width, Heads))]);
    private readonly nn.Module<Tensor, Tensor> norm = nn.LayerNorm(Width);
    private readonly nn.Module<Tensor, Tensor> head = nn.Linear(Width, Vocabulary);

    private ByteDecoder()
        : base(nameof(ByteDecoder)) => RegisterComponents();

    public long ParameterCount => parameters().Sum(p => p.numel());

    public static ByteDecoder Create(int seed)
    {
        manual_seed(Randomness.SeedFor(seed, "initial weights"));
        return new ByteDecoder();
    }

    /// <summary>The layers of attention and MLP, by parameter name: not the embeddings, the norms and the head.</summary>
    public static bool IsAttentionOrMlp(string parameter) =>
        parameter.StartsWith($"{nameof(blocks)}.", StringComparison.Ordinal) && !parameter.Contains("Norm.", StringComparison.Ordinal);

    /// <param name="input">Bytes, <c>[B, T]</c>, int64.</param>
    /// <returns>Logits of the next byte, <c>[B, T, 256]</c>.</returns>
    public override Tensor forward(Tensor input)
    {
        var place = arange(0, input.shape[1], 1, ScalarType.Int64, input.device);       // [T]
        var x = tokens.call(input) + positions.call(place);                             // [B, T, D]
        foreach (var block in blocks)
        {
            x = block.call(x);
        }

        return head.call(norm.call(x));
    }
}
