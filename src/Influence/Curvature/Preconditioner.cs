using Influence.Formats;
using Influence.Gradients;
using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// (H + damping I)^-1 for one model and its training examples: what turns gradient products into influence functions.
/// Fitted once, immutable, and given to <c>InfluenceFunction</c> any number of times, with any damping.
/// </summary>
/// <remarks>Owns its tensors: dispose it. It belongs to the weights that it was fitted at, and is refused at others.</remarks>
public abstract class Preconditioner : IDisposable
{
    private bool _disposed;

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
        if (_disposed)
        {
            throw new InfluenceException(
                $"This {Info.Method} was disposed. Dispose it after the last call that uses it, or Save it and Load it again."
            );
        }

        using var stage = CostMeter.Stage("preconditioning");
        return PrepareInverse(session, damping, tolerance, token);
    }

    /// <inheritdoc cref="Prepare"/>
    private protected abstract Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token);

    /// <summary>Reads a fit of whatever kind it is, as its <c>Save</c> wrote it.</summary>
    /// <remarks>
    /// Each kind has a <c>Load</c> of its own beside this, for where the type counts: <c>CurvatureEdit</c> takes a <see cref="Kfac"/>, a
    /// Newton step on a group a <see cref="DenseCurvature"/>, and a program that asks for <see cref="Ekfac"/> is not to go on with another
    /// kind unawares. Solvers, which read the training examples at each use, have nothing to save.
    /// </remarks>
    /// <param name="path">The file.</param>
    /// <param name="device">Where its tensors go: the model's device; null: the CPU.</param>
    /// <returns>The fit; dispose it.</returns>
    /// <exception cref="InfluenceException">The file is missing or cut off, is no fit, or one by a method that is not known
    /// here.</exception>
    public static Preconditioner Load(string path, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        var method = MethodOf(path);
        return method switch
        {
            _ when FactorSums.NamesOf(Ekfac.Method).Contains(method) => Ekfac.Load(path, device),
            _ when FactorSums.NamesOf(Kfac.Method).Contains(method) => Kfac.Load(path, device),
            DiagonalFisher.Method => DiagonalFisher.Load(path, device),
            DenseCurvature.Method => DenseCurvature.Load(path, device),
            Arnoldi.Method => Arnoldi.Load(path, device),
            Nystrom.Method => Nystrom.Load(path, device),
            NoCurvature.Method => NoCurvature.Load(path),
            _ => throw new InfluenceException(
                $"{path} holds a fit by {PlainText.Name(method)}, which is not known here; expected one by {Ekfac.Method}, "
                    + $"{Kfac.Method}, {DiagonalFisher.Method}, {DenseCurvature.Method}, {Arnoldi.Method}, {Nystrom.Method} or "
                    + $"{NoCurvature.Method}. Fit it anew and save that."
            ),
        };

        static string MethodOf(string path)
        {
            using var file = SafetensorsFile.Open(path);
            return CurvatureInfo.FromFile(file, path).Method;
        }
    }

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
        _disposed = true;
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees what it holds.</summary>
    /// <param name="disposing">Always true: there is no finaliser.</param>
    protected abstract void Dispose(bool disposing);
}
