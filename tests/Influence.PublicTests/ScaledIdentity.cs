using Influence.Curvature;
using static TorchSharp.torch;

namespace Influence.PublicTests;

/// <summary>A curvature of one number for every parameter, H = c I: (c + damping)^-1 g.</summary>
public sealed class ScaledIdentity(InfluenceTask task, Examples train, double curvature)
    : CustomPreconditioner(Describe(task, train, "scaled identity", $"{curvature} I", Damping.Absolute(0.5)))
{
    /// <summary>Makes <see cref="Apply"/> leave a parameter out, as a mistake would.</summary>
    public string? Forgets { get; init; }

    protected override IReadOnlyDictionary<string, Tensor> Apply(IReadOnlyDictionary<string, Tensor> gradients, Damping damping)
    {
        ArgumentNullException.ThrowIfNull(gradients);
        ArgumentNullException.ThrowIfNull(damping);
        return gradients.Where(g => g.Key != Forgets).ToDictionary(g => g.Key, g => g.Value / (curvature + damping.Value));
    }

    protected override void Dispose(bool disposing) { }
}
