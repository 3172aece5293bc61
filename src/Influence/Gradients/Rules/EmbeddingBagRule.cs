using TorchSharp;
using TorchSharp.Modules;
using static Influence.Numerics.KeptNumber;
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
        var (alone, padding, together) = TableProbe.Run(
            weight,
            "An embedding bag",
            () =>
            {
                var each = Received(arange(Kept(0), Kept(rows), Kept(1), ScalarType.Int64, weight.device).repeat(2).unsqueeze(1));
                var empty = Array.FindIndex(each, g => g == 0);
                long[] pair = [.. Enumerable.Range(0, (int)rows).Where(v => v != empty).Take(2).Select(v => (long)v)];
                var both = Received(tensor(pair, device: weight.device).unsqueeze(0));
                return (each, empty, both.Where((_, v) => pair.Contains(v)).ToArray());
            }
        );
        if (alone.Where((g, v) => v != padding).Any(g => g != 2))
        {
            reason = TableProbe.Scaled;
            return null;
        }

        if (together.Length < 2 || together[0] != together[1])
        {
            reason = together.Length < 2 ? "its table has fewer than two rows" : "it takes the maximum over a bag";
            return null;
        }

        return new EmbeddingBagRule(rows, padding < 0 ? null : padding, mean: together[0] != 1);

        double[] Received(Tensor bags) => TableProbe.Received(weight, bag.forward(bags, null!, null!));
    }

    public override BlockGradients Gradients(IReadOnlyList<LayerCall> calls, bool weight, bool bias) =>
        new TokenGradients(
            JoinPositions(calls, call => call.Activation.to_type(ScalarType.Int64).reshape(call.Examples, -1)),
            JoinPositions(calls, ByToken),
            _vocabulary
        );

    public override BlockGradients Substitute(long examples, Tensor[] parts, bool weight, bool bias, long inputs) =>
        TokenGradients.Substitute(examples, parts[0], _vocabulary);

    /// <summary>What each token of each bag gets, <c>[B, k*T, D]</c>.</summary>
    private Tensor ByToken(LayerCall call)
    {
        var (tokens, d) = (call.Activation, call.OutputGradient); // [B*k, T], [B*k, D]
        var share = ones(tokens.shape, d.dtype, d.device);
        if (_padding is { } padding)
        {
            share = share.masked_fill(tokens.eq(Kept(padding)), Kept(0));
        }

        if (_mean)
        {
            share = share / share.sum(1, keepdim: true).clamp(min: Kept(1));
        }

        return (share.unsqueeze(-1) * d.unsqueeze(1)).reshape(call.Examples, -1, d.shape[1]);
    }
}
