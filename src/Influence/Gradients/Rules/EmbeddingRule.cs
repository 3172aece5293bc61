using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>y_t = W[x_t]: row v of the gradient is the sum of d_t over the positions with x_t = v.</summary>
internal sealed class EmbeddingRule : LayerRule
{
    private readonly long _vocabulary;
    private readonly long? _padding;

    private EmbeddingRule(long vocabulary, long? padding)
    {
        _vocabulary = vocabulary;
        _padding = padding;
    }

    public override string Name => "Embedding";

    public override bool PositionsLead => true;

    /// <summary>
    /// TorchSharp does not tell a layer's padding index or whether it scales by frequency, but one small backward pass
    /// does: look every row up twice and see what gradient it gets (2 as a rule, 0 the padding row, 1 when scaled).
    /// </summary>
    public static EmbeddingRule? For(Embedding embedding, out string? reason)
    {
        reason = null;
        using var scope = NewDisposeScope();
        var weight = embedding.get_parameter("weight") ?? throw new InfluenceException("An embedding without a weight.");
        var rows = weight.shape[0];
        var gradient = TableProbe.Run(
            weight,
            "An embedding",
            () =>
                TableProbe.Received(
                    weight,
                    embedding.forward(arange(Kept(0), Kept(rows), Kept(1), ScalarType.Int64, weight.device).repeat(2))
                )
        );
        var padding = Array.FindIndex(gradient, g => g == 0);
        if (gradient.Where((g, v) => v != padding).Any(g => g != 2))
        {
            reason = TableProbe.Scaled;
            return null;
        }

        return new EmbeddingRule(rows, padding < 0 ? null : padding);
    }

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias)
    {
        var tokens = JoinPositions(calls, call => call.Activation.to_type(ScalarType.Int64).reshape(call.Examples, -1));
        var gradient = JoinPositions(calls, call => call.ByPosition(call.OutputGradient));
        if (_padding is { } padding)
        {
            gradient = gradient.masked_fill(tokens.eq(Kept(padding)).unsqueeze(-1), Kept(0));
        }

        return new TokenGradients(tokens, gradient, _vocabulary)
        {
            PositionsLead = calls.Count == 1,
            Mask = calls.All(call => call.Mask is null) ? null : JoinPositions(calls, PositionsOf),
        };
    }

    public override BlockGradients Substitute(long examples, Tensor[] parts, bool weight, bool bias, long inputs) =>
        TokenGradients.Substitute(examples, parts[0], _vocabulary);
}
