using System.Globalization;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// Which weights matter for the examples to forget: only they move. With g_F and g_K the mean gradients over the examples to forget and to
/// keep,
/// <code>
/// SalUn:   |g_F|
/// WAGLE:   |w g_F - g_K g_F / gamma|
/// </code>
/// and the highest share of all P elements together is chosen, floor(share P) of them.
/// </summary>
/// <remarks>
/// References: Fan et al., "SalUn", ICLR 2024; Jia et al., "WAGLE", NeurIPS 2024, with a diagonal Hessian gamma (the published code takes
/// gamma = 0.001, with which the second term decides alone: try several). Cost: a backward pass over the examples to forget, and for WAGLE
/// over those to keep.
/// </remarks>
public sealed record WeightSaliency
{
    private readonly double? _gamma;
    private readonly double _share;

    private WeightSaliency(double share, double? gamma) => (_share, _gamma) = (share, gamma);

    /// <summary>The weights with the largest gradients on the examples to forget.</summary>
    /// <param name="share">The share that may move, above 0 and at most 1.</param>
    /// <returns>The saliency.</returns>
    /// <exception cref="InfluenceException">A share outside that.</exception>
    public static WeightSaliency Salun(double share = 0.5) => new(Check.PositiveShare(share), null);

    /// <summary>The weights whose attribution by the bi-level objective is largest in magnitude.</summary>
    /// <param name="share">The share that may move, above 0 and at most 1.</param>
    /// <param name="gamma">The Hessian's diagonal, above 0.</param>
    /// <returns>The saliency.</returns>
    /// <exception cref="InfluenceException">A share or a gamma outside that.</exception>
    public static WeightSaliency Wagle(double share = 0.8, double gamma = 1) => new(Check.PositiveShare(share), Check.Positive(gamma));

    /// <summary>The method and its settings.</summary>
    /// <returns>One line.</returns>
    public override string ToString() =>
        _gamma is { } gamma
            ? string.Create(CultureInfo.InvariantCulture, $"WAGLE {_share:0.##}, gamma {gamma:G3}")
            : string.Create(CultureInfo.InvariantCulture, $"SalUn {_share:0.##}");

    /// <summary>Which elements move, truth values <c>[P]</c>, in the current scope.</summary>
    internal Tensor Mask(UnlearningRun run)
    {
        using var scope = NewDisposeScope();
        if (_gamma is null)
        {
            return Highest(run.ForgetGradient()).MoveToOuterDisposeScope();
        }

        var (forget, keep) = run.MeanGradients();
        return Highest(Scores(run.Start, forget, keep)).MoveToOuterDisposeScope();
    }

    /// <summary>WAGLE's attribution with its sign, <c>[P]</c>.</summary>
    internal Tensor Scores(Tensor weights, Tensor forget, Tensor keep)
    {
        using Scalar gamma = Kept(_gamma ?? 1);
        return (weights * forget) - ((keep * forget) / gamma); // [P]
    }

    /// <summary>The floor(share P) elements of the largest magnitude, <c>[P]</c>.</summary>
    internal Tensor Highest(Tensor scores)
    {
        using var scope = NewDisposeScope();
        var count = (long)Math.Floor((_share * scores.shape[0]) + 1e-9);
        var mask = zeros(scores.shape, ScalarType.Bool, scores.device); // [P]
        if (count > 0)
        {
            var (_, indices) = scores.abs().topk((int)count, 0); // [K]
            mask.index_fill_(0, indices, Kept(1));
        }

        return mask.MoveToOuterDisposeScope();
    }
}
