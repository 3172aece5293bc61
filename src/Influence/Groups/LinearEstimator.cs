using Influence.Curvature;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>
/// An estimator whose score is linear in the training example's gradient, s(z, q) = sum over steps of weight * (M grad f(q)) .
/// grad L(z): only for these is the score of a group that of its summed gradient.
/// </summary>
internal abstract class LinearEstimator
{
    /// <summary>Bytes that kept query gradients may take.</summary>
    public abstract long MemoryBudget { get; }

    /// <summary>The estimator's name.</summary>
    public abstract string Name { get; }

    /// <summary>The number of steps of the sum: checkpoints, or one.</summary>
    public abstract int Steps { get; }

    /// <summary>Why scores are not linear, with what to write instead; or nothing.</summary>
    public abstract IEnumerable<string> Problems();

    /// <summary>Opens a session for each step of the sum. What it hands over is valid during the call.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">Training examples.</param>
    /// <param name="queries">Queries.</param>
    /// <param name="reporter">Progress and cancellation.</param>
    /// <param name="step">Told each step.</param>
    /// <returns>How the scores were made.</returns>
    public abstract ScoreMetadata Run(
        InfluenceTask task,
        Examples train,
        Examples queries,
        ProgressReporter reporter,
        Action<LinearStep> step
    );
}

/// <summary>One step of the sum: the model at some weights.</summary>
/// <param name="Session">An open session.</param>
/// <param name="Layout">The order of the parameters.</param>
/// <param name="Apply">From query gradients <c>[K, P]</c> to M times them, in the current scope.</param>
/// <param name="Weight">The step's factor, a learning rate for instance.</param>
internal sealed record LinearStep(GradientSession Session, ParameterVector Layout, Func<Tensor, Tensor> Apply, double Weight);
