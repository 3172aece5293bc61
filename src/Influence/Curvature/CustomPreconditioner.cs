using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The base of a preconditioner of your own: how (H + damping I)^-1 acts on gradients, parameter by parameter, in the parameters'
/// own shapes. It then serves wherever a preconditioner does, as in <c>InfluenceFunction</c>.
/// </summary>
/// <remarks>
/// The inverse must be symmetric, and linear in each example's gradient. What it owns it disposes. Cost: what
/// <see cref="Apply"/> does, and the queries' gradients written out, [B, P] numbers at a time.
/// </remarks>
/// <example>
/// <code>
/// // Adam's second moments as the diagonal of the curvature.
/// public sealed class AdamDiagonal(InfluenceTask task, Examples train, IReadOnlyDictionary&lt;string, Tensor&gt; moments)
///     : CustomPreconditioner(Describe(task, train, "Adam's diagonal", "second moments", Damping.Absolute(1e-3)))
/// {
///     protected override IReadOnlyDictionary&lt;string, Tensor&gt; Apply(
///         IReadOnlyDictionary&lt;string, Tensor&gt; gradients, Damping damping) =>
///         gradients.ToDictionary(g => g.Key, g => g.Value / (moments[g.Key] + damping.Value));
///
///     protected override void Dispose(bool disposing)
///     {
///     }
/// }
/// </code>
/// </example>
public abstract class CustomPreconditioner : Preconditioner
{
    /// <summary>Takes note of how it was made.</summary>
    /// <param name="info">What <see cref="Describe"/> gives, at the weights of the fit.</param>
    protected CustomPreconditioner(CurvatureInfo info)
        : base(info) { }

    /// <summary>Says how a fit was made, for its scores' metadata, with a hash of the model's present weights by which other weights are
    /// refused.</summary>
    /// <param name="task">The model and its loss.</param>
    /// <param name="train">The training examples of the fit.</param>
    /// <param name="method">The method, for example <c>EK-FAC</c>.</param>
    /// <param name="matrix">Which matrix is inverted, in words.</param>
    /// <param name="damping">The damping where a call gives none.</param>
    /// <returns>The description.</returns>
    /// <exception cref="InfluenceException">Bad input, or a model that cannot be scored.</exception>
    protected static CurvatureInfo Describe(InfluenceTask task, Examples train, string method, string matrix, Damping damping)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(damping);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        using var scope = NewDisposeScope();
        using var cost = CostMeter.Begin("fit");
        using var session = GradientSession.Open(task, train, queries: null);
        return new CurvatureInfo
        {
            Method = method,
            Matrix = matrix,
            Damping = damping,
            Examples = train.Count,
            Weights = session.WeightsFingerprint(),
        };
    }

    /// <summary>(H + damping I)^-1 g for every example of a batch.</summary>
    /// <param name="gradients">
    /// g by the parameters' names, <c>[B, ...]</c> with the parameter's shape behind the examples; parts of packed attention weights
    /// are <c>[B, elements]</c> by names such as <c>attention.in_proj_weight[q]</c>. Borrowed.
    /// </param>
    /// <param name="damping">The damping of the call.</param>
    /// <returns>The same names and shapes, in the current scope.</returns>
    protected abstract IReadOnlyDictionary<string, Tensor> Apply(IReadOnlyDictionary<string, Tensor> gradients, Damping damping);

    private protected sealed override Inverse PrepareInverse(
        GradientSession session,
        Damping? damping,
        double tolerance,
        CancellationToken token
    )
    {
        CheckWeights(session);
        return new Applied(this, new ParameterVector(session), (damping ?? Info.Damping).AsOneNumber());
    }

    private sealed class Applied(CustomPreconditioner preconditioner, ParameterVector layout, Damping damping) : VectorInverse(layout)
    {
        public override Tensor Solve(Tensor gradients)
        {
            var given = new Dictionary<string, Tensor>();
            var at = 0L;
            foreach (var part in Layout.Parts)
            {
                using var value = part.Parameter.Value.detach();
                var rows = gradients.narrow(1, at, part.Count); // [B, P_k]
                given.Add(part.Name, part.Rows is null ? rows.reshape([gradients.shape[0], .. value.shape]) : rows);
                at += part.Count;
            }

            var applied = preconditioner.Apply(given, damping);
            return cat([.. Layout.Parts.Select(part => Row(applied, part.Name, given[part.Name]))], 1); // [B, P]
        }

        private Tensor Row(IReadOnlyDictionary<string, Tensor> applied, string name, Tensor gradient) =>
            applied is not null
            && applied.TryGetValue(name, out var found)
            && found is not null
            && found.shape.AsSpan().SequenceEqual(gradient.shape)
                ? found.reshape(gradient.shape[0], -1)
                : throw new InfluenceException(
                    $"{preconditioner.GetType().Name}.Apply returns a tensor for each parameter, of the gradient's shape; expected "
                        + $"\"{name}\" of [{string.Join(", ", gradient.shape)}], found "
                        + $"{(applied?.GetValueOrDefault(name) is { } other ? $"[{string.Join(", ", other.shape)}]" : "none")}."
                );
    }
}
