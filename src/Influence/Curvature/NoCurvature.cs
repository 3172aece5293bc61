using Influence.Formats;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;

namespace Influence.Curvature;

/// <summary>
/// No curvature: scores become gradient dot products, as those of <c>TracIn</c> at the current weights. The baseline that
/// every other preconditioner is compared with. A damping does not matter.
/// </summary>
public sealed class NoCurvature : Preconditioner
{
    internal const string Method = "gradient dot product";

    private NoCurvature(CurvatureInfo info)
        : base(info) { }

    /// <summary>Takes note of the model's weights and the number of training examples; reads no example's gradient.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">The training examples.</param>
    /// <returns>The preconditioner.</returns>
    /// <exception cref="InfluenceException">Bad input.</exception>
    public static NoCurvature Fit(InfluenceTask task, Examples train)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        using var scope = torch.NewDisposeScope();
        using var cost = CostMeter.Begin("fit");
        using var session = GradientSession.Open(task, train, queries: null);
        return new NoCurvature(
            new CurvatureInfo
            {
                Method = Method,
                Matrix = "identity",
                Damping = Damping.Absolute(0),
                Examples = train.Count,
                Weights = session.WeightsFingerprint(),
            }
        );
    }

    /// <summary>Writes how it was made, as a safetensors file without tensors.</summary>
    /// <param name="path">The file, ending in <c>.safetensors</c>.</param>
    /// <exception cref="InfluenceException">Another ending, or it cannot be written; nothing was changed.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        Safetensors.CheckName(path);
        Safetensors.Save(path, [], Info.ToStrings());
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <returns>The preconditioner.</returns>
    /// <exception cref="InfluenceException">The file is missing, truncated, or holds something else.</exception>
    public static NoCurvature Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        using var file = SafetensorsFile.Open(path);
        var info = CurvatureInfo.FromFile(file, path);
        return info.Method == Method
            ? new NoCurvature(info)
            : throw new InfluenceException($"{path} holds a fit by {PlainText.Name(info.Method)}, not by {Method}.");
    }

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        return new Same();
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) { }

    private sealed class Same : Inverse
    {
        public override bool IsEuclidean => true;

        public override BatchGradients Apply(BatchGradients gradients) => Meet(gradients);
    }
}
