using TorchSharp;
using TorchSharp.Modules;
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
        var wasTrainable = weight.requires_grad;
        var before = weight.detach().clone();
        Tensor received;
        try
        {
            using var grad = enable_grad();
            weight.requires_grad = true;
            var twice = arange(0, rows, 1, ScalarType.Int64, weight.device).repeat(2);
            var column = embedding.forward(twice).narrow(1, 0, 1).sum();
            received = GuardedBackward.Gradients([column], [weight])[0] ?? zeros_like(weight);
        }
        finally
        {
            weight.requires_grad = wasTrainable;
        }

        using var noGrad = no_grad();
        if (weight.ne(before).any().item<bool>())
        {
            weight.copy_(before);
            throw new InfluenceException(
                "An embedding with max_norm rewrites its weights in every forward pass, so scoring would change the model. Make it without max_norm for scoring.");
        }

        var column0 = (received.is_sparse ? received.to_dense() : received).select(1, 0).cpu().to_type(ScalarType.Float64);
        var gradient = column0.data<double>().ToArray();
        var padding = Array.FindIndex(gradient, g => g == 0);
        if (gradient.Where((g, v) => v != padding).Any(g => g != 2))
        {
            reason = "its gradient is scaled by token frequency (scale_grad_by_freq), which mixes the examples of a batch";
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
            gradient = gradient.masked_fill(tokens.eq(padding).unsqueeze(-1), 0);
        }

        return new TokenGradients(tokens, gradient, _vocabulary)
        {
            PositionsLead = calls.Count == 1,
            Mask = calls.All(call => call.Mask is null) ? null : JoinPositions(calls, PositionsOf),
        };
    }

    public override BlockGradients Substitute(long examples, Tensor[] parts, bool weight, bool bias, long inputs) => new TokenGradients(
        arange(0, _vocabulary, 1, ScalarType.Int64, parts[0].device).expand(examples, _vocabulary), parts[0].reshape(examples, _vocabulary, -1), _vocabulary)
    {
        IsSubstitute = true,
    };
}
