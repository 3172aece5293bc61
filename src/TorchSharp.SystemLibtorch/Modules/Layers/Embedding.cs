using System.Diagnostics.CodeAnalysis;
using TorchSharp.Interop;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Rows of a table <c>[num_embeddings, embedding_dims]</c>, looked up by index.</summary>
public sealed class Embedding : nn.Module<Tensor, Tensor>
{
    private static readonly Operator Lookup = new("aten::embedding");
    private static readonly Operator Renormalize = new("aten::embedding_renorm_");

    private readonly EmbeddingOptions _options;
    private Parameter? _weight;

    internal Embedding(Tensor table, bool trainable, EmbeddingOptions options) : base("torch::nn::EmbeddingImpl")
    {
        _options = options;
        weight = nn.Parameter(table, trainable);
    }

    [DisallowNull]
    public Parameter? weight
    {
        get => _weight;
        set => Adopt(ref _weight, nameof(weight), value);
    }

    public override Tensor forward(Tensor input)
    {
        var table = weight ?? throw new ObjectDisposedException(nameof(Embedding));
        if (_options.MaxNorm is { } maxNorm)
        {
            // Rows that are about to be used and are too long are shortened for good, outside the graph.
            using var noGrad = no_grad();
            using var indices = input.contiguous();
            Renormalize.CallInPlace(table, indices, maxNorm, _options.NormType);
        }

        return Lookup.Call(table, input, _options.PaddingIndex ?? -1, _options.ScaleGradByFrequency, _options.Sparse);
    }
}

/// <summary>The settings of an embedding, in the order of its factory's arguments.</summary>
internal sealed record EmbeddingOptions(
    long? PaddingIndex,
    double? MaxNorm,
    double NormType,
    bool ScaleGradByFrequency,
    bool Sparse)
{
    /// <summary>The same settings with a padding index that counts from the front.</summary>
    public EmbeddingOptions ForTable(long rows)
    {
        if (PaddingIndex is not { } index)
        {
            return this;
        }

        return index >= -rows && index < rows
            ? this with { PaddingIndex = index < 0 ? index + rows : index }
            : throw new ArgumentException($"The padding index {index} is outside a table of {rows} rows.");
    }
}
