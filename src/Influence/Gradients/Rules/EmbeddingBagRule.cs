using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// y = sum over t of W[x_t], or the mean: every token of a bag gets d, or d over the number of tokens. Bags are rows of one tensor,
/// <c>[B, T]</c>; padding is left out of both. Bags by offsets, weights of single tokens and the maximum are taken without a rule.
/// </summary>
internal sealed class EmbeddingBagRule : LayerRule
{
    private readonly long _vocabulary;
    private readonly long? _padding;
    private readonly bool _mean;

    private EmbeddingBagRule(long vocabulary, long? padding, bool mean)
    {
        _vocabulary = vocabulary;
        _padding = padding;
        _mean = mean;
    }

    public override string Name => "EmbeddingBag";

    /// <summary>Whether a call is one that the rule knows.</summary>
    public static bool Covers(Tensor tokens, Tensor? offsets, Tensor? weights) => offsets is null && weights is null && tokens.dim() == 2;

    /// <summary>
    /// TorchSharp does not tell a layer's settings, but small backward passes do: every row in two bags of its own gets 2 (0 as padding, 1
    /// where it is scaled by frequency), and two rows in one bag get 1 and 1 of a sum and a half each of a mean.
    /// </summary>
    public static EmbeddingBagRule? For(EmbeddingBag bag, out string? reason)
    {
        reason = null;
        using var scope = NewDisposeScope();
        var weight = bag.get_parameter("weight") ?? throw new InfluenceException("An embedding bag without a weight.");
        var rows = weight.shape[0];
        var wasTrainable = weight.requires_grad;
        var before = weight.detach().clone();
        double[] alone;
        int padding;
        double[] together;
        try
        {
            using var grad = enable_grad();
            weight.requires_grad = true;
            alone = Received(arange(0, rows, 1, ScalarType.Int64, weight.device).repeat(2).unsqueeze(1));
            padding = Array.FindIndex(alone, g => g == 0);
            long[] pair = [.. Enumerable.Range(0, (int)rows).Where(v => v != padding).Take(2).Select(v => (long)v)];
            together = [.. pair.Zip(Received(tensor(pair, device: weight.device).unsqueeze(0)).Where((_, v) => pair.Contains(v)), (_, g) => g)];
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
                "An embedding bag with max_norm rewrites its weights in every forward pass, so scoring would change the model. Make it without max_norm for scoring.");
        }

        if (alone.Where((g, v) => v != padding).Any(g => g != 2))
        {
            reason = "its gradient is scaled by token frequency (scale_grad_by_freq), which mixes the examples of a batch";
            return null;
        }

        if (together.Length < 2 || together[0] != together[1])
        {
            reason = together.Length < 2 ? "its table has fewer than two rows" : "it takes the maximum over a bag";
            return null;
        }

        return new EmbeddingBagRule(rows, padding < 0 ? null : padding, mean: together[0] != 1);

        // The gradient of the sum of every bag's first output by each row's first element.
        double[] Received(Tensor bags)
        {
            var column = bag.forward(bags, null!, null!).narrow(1, 0, 1).sum();
            var received = GuardedBackward.Gradients([column], [weight])[0] ?? zeros_like(weight);
            return (received.is_sparse ? received.to_dense() : received).select(1, 0).cpu().to_type(ScalarType.Float64).data<double>().ToArray();
        }
    }

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias) => new TokenGradients(
        JoinPositions(calls, call => call.Activation.to_type(ScalarType.Int64).reshape(call.Examples, -1)),
        JoinPositions(calls, ByToken),
        _vocabulary);

    public override BlockGradients Substitute(long examples, Tensor[] parts, bool weight, bool bias, long inputs) => new TokenGradients(
        arange(0, _vocabulary, 1, ScalarType.Int64, parts[0].device).expand(examples, _vocabulary), parts[0].reshape(examples, _vocabulary, -1), _vocabulary)
    {
        IsSubstitute = true,
    };

    /// <summary>What each token of each bag gets, <c>[B, k*T, D]</c>.</summary>
    private Tensor ByToken(LayerCall call)
    {
        var (tokens, d) = (call.Activation, call.OutputGradient);                       // [B*k, T], [B*k, D]
        var share = ones(tokens.shape, d.dtype, d.device);
        if (_padding is { } padding)
        {
            share = share.masked_fill(tokens.eq(padding), 0);
        }

        if (_mean)
        {
            share = share / share.sum(1, keepdim: true).clamp(min: 1);
        }

        return (share.unsqueeze(-1) * d.unsqueeze(1)).reshape(call.Examples, -1, d.shape[1]);
    }
}
