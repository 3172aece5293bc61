using TorchSharp;
using static TorchSharp.torch;

namespace Samples.Pretrained.Text;

/// <summary>
/// The encoder of all-MiniLM-L6-v2: BERT with six layers of twelve heads, 384 wide. The weights of attention's output and of
/// both halves of the MLP, and all norms, lie here under short names; <see cref="MiniLmWeights"/> has the table of names.
/// </summary>
internal sealed class MiniLm : nn.Module<Tensor, Tensor, Tensor>
{
    public const int Width = 384;
    public const int Positions = 512;
    private const int Vocabulary = 30_522;
    private const int Kinds = 2;
    private const int Layers = 6;

    /// <summary>BERT's; TorchSharp's own default is larger.</summary>
    public const double Epsilon = 1e-12;

    private readonly nn.Module<Tensor, Tensor> words;
    private readonly nn.Module<Tensor, Tensor> positions;
    private readonly nn.Module<Tensor, Tensor> kinds;
    private readonly nn.Module<Tensor, Tensor> norm;
    private readonly TorchSharp.Modules.ModuleList<MiniLmLayer> layers;

    /// <param name="loraRank">The rank of the trained corrections of the queries' and values' projections; 0 for none.</param>
    public MiniLm(int loraRank = 0)
        : base(nameof(MiniLm))
    {
        words = nn.Embedding(Vocabulary, Width);
        positions = nn.Embedding(Positions, Width);
        kinds = nn.Embedding(Kinds, Width);
        norm = nn.LayerNorm(Width, Epsilon);
        layers = nn.ModuleList<MiniLmLayer>([.. Enumerable.Range(0, Layers).Select(_ => new MiniLmLayer(loraRank))]);
        RegisterComponents();
    }

    /// <param name="ids">Pieces of words, <c>[B, T]</c>, int64.</param>
    /// <param name="mask">1 for a piece, 0 for padding, <c>[B, T]</c>.</param>
    /// <returns>A state for each position, <c>[B, T, 384]</c>.</returns>
    public override Tensor forward(Tensor ids, Tensor mask)
    {
        var place = arange(0, ids.shape[1], 1, ScalarType.Int64, ids.device).unsqueeze(0).expand(ids.shape); // [B, T]
        var x = norm.call(words.call(ids) + kinds.call(zeros_like(ids)) + positions.call(place)); // [B, T, D]
        foreach (var layer in layers)
        {
            x = layer.call(x, mask);
        }

        return x;
    }

    /// <summary>The mean of the states over the positions that are no padding, <c>[B, 384]</c>: the sentence's embedding before it is
    /// scaled to length 1.</summary>
    public static Tensor Pool(Tensor states, Tensor mask)
    {
        var weights = mask.to_type(states.dtype).unsqueeze(2); // [B, T, 1]
        return (states * weights).sum(1) / weights.sum(1); // [B, D]
    }
}
