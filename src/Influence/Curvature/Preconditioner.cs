using Influence.Gradients;
using Influence.Numerics;

namespace Influence.Curvature;

/// <summary>
/// (H + damping I)^-1 for one model and its training examples: what turns gradient products into influence functions.
/// Fitted once, immutable, and given to <c>InfluenceFunction</c> any number of times, with any damping.
/// </summary>
/// <remarks>Owns its tensors: dispose it. It belongs to the weights that it was fitted at, and is refused at others.</remarks>
public abstract class Preconditioner : IDisposable
{
    private protected Preconditioner(CurvatureInfo info) => Info = info;

    /// <summary>How it was made.</summary>
    public CurvatureInfo Info { get; }

    /// <summary>
    /// The inverse at one damping, ready to be applied to gradients of an open session.
    /// </summary>
    /// <param name="session">An open session on the task; its model has the weights of the fit.</param>
    /// <param name="damping">Null: <see cref="CurvatureInfo.Damping"/>.</param>
    /// <param name="tolerance">Relative error that the inverse may be rounded by where that saves work; 0 is exact.</param>
    /// <param name="token">Checked between batches by solvers that read the training examples.</param>
    internal Inverse Prepare(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        using var stage = CostMeter.Stage("preconditioning");
        return PrepareInverse(session, damping, tolerance, token);
    }

    /// <inheritdoc cref="Prepare"/>
    private protected abstract Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token);

    /// <summary>Refuses a model with other parameters or other weights than those of the fit.</summary>
    internal void CheckWeights(GradientSession session)
    {
        if (!Info.Weights.Contains('-', StringComparison.Ordinal))
        {
            if (session.EarlierFingerprint() == Info.Weights)
            {
                Log.EarlierFit(session.Task.Logger, Info.Method);
                return;
            }
        }
        else if (session.WeightsFingerprint() == Info.Weights)
        {
            return;
        }

        throw new InfluenceException(
            $"This {Info.Method} was fitted at other weights, or on other parameters, than the model has now; frozen weights and "
                + "buffers count too. Fit it again, or load the checkpoint that it was fitted at (and select the same Layers)."
        );
    }

    /// <summary>Frees what it holds.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees what it holds.</summary>
    /// <param name="disposing">Always true: there is no finaliser.</param>
    protected abstract void Dispose(bool disposing);
}
