using Influence.Gradients;
using TorchSharp;

namespace Influence.Curvature;

/// <summary>
/// No curvature: scores become gradient dot products, as those of <c>TracIn</c> at the current weights. The baseline that
/// every other preconditioner is compared with. A damping does not matter.
/// </summary>
public sealed class Identity : Preconditioner
{
    private Identity(CurvatureInfo info)
        : base(info)
    {
    }

    /// <summary>Takes note of the model's weights and the number of training examples; reads no example's gradient.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">The training examples.</param>
    /// <returns>The preconditioner.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    public static Identity Fit(InfluenceTask task, Examples train)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        using var scope = torch.NewDisposeScope();
        using var session = GradientSession.Open(task, train, queries: null);
        return new Identity(new CurvatureInfo
        {
            Method = "gradient dot product",
            Matrix = "identity",
            Damping = Damping.Absolute(0),
            Examples = train.Count,
            Weights = session.WeightsFingerprint(),
        });
    }

    internal override Inverse Prepare(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        return new Same();
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
    }

    private sealed class Same : Inverse
    {
        public override bool IsEuclidean => true;

        public override BatchGradients Apply(BatchGradients gradients) => Meet(gradients);
    }
}
