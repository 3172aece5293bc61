using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Unlearning;

/// <summary>
/// Influence approximation unlearning (IAU): the examples to forget are learned as negative ones, corrected by the gradient of what is
/// kept, in one step without a Hessian:
/// <code>w' = w - eta (g_K - g_F)</code>
/// with g_K and g_F the mean gradients over the examples to keep and to forget.
/// </summary>
/// <remarks>
/// With <see cref="BySign"/> it is the published code, whose one step of a fresh Adam is eta times the sign of each element; without, it is
/// the paper's plain step. The paper also trains with a penalty on the gradient's norm (0.005 |grad L|), which belongs into the training
/// loop. Cost: one backward pass over the examples to forget and to keep. Reference: Liu et al., "Efficient Machine Unlearning via
/// Influence Approximation", 2025.
/// </remarks>
public sealed record InfluenceApproximation : UnlearningMethod
{
    /// <inheritdoc/>
    public override string Name => BySign ? "IAU, signs" : "IAU";

    /// <summary>eta.</summary>
    /// <value>0.01.</value>
    /// <exception cref="InfluenceException">Not above 0.</exception>
    public double LearningRate
    {
        get;
        init => field = Check.Positive(value);
    } = 0.01;

    /// <summary>Whether each element moves by eta, in the direction of its sign.</summary>
    /// <value>False.</value>
    public bool BySign { get; init; }

    private protected override void Move(UnlearningRun run)
    {
        using var scope = NewDisposeScope();
        var (forget, keep) = run.MeanGradients(); // [P], [P]
        var direction = forget - keep; // [P]
        using Scalar rate = Kept(LearningRate);
        run.MoveTo((BySign ? direction.sign() : direction).mul_(rate));
    }
}
