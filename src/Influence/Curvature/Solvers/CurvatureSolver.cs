using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// A preconditioner that solves (H + damping I) x = g by products with the curvature: the matrix is never formed. Each use
/// reads the training examples of the fit again.
/// </summary>
/// <remarks>It keeps references to the training examples, which stay the caller's: keep them until the last use.</remarks>
public abstract class CurvatureSolver : Preconditioner
{
    private readonly CurvatureMatrix _matrix;
    private double? _meanEigenvalue;
    private double? _largestEigenvalue;

    private protected CurvatureSolver(CurvatureInfo info, Examples train, CurvatureMatrix matrix)
        : base(info) => (Train, _matrix) = (train, matrix);

    /// <summary>The training examples of the fit.</summary>
    private protected Examples Train { get; }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) { }

    /// <summary>The largest eigenvalue in magnitude, found at the first use.</summary>
    private protected double LargestEigenvalue(DampedCurvature system) =>
        _largestEigenvalue ??= PowerIteration.Of(v => system.Product.Over(Train, v, system.Token), system.Product.Layout, Info.Seed);

    /// <summary>What is to be solved, in a session on a model that has the weights of the fit.</summary>
    private protected DampedCurvature System(GradientSession session, Damping? damping, CancellationToken token)
    {
        CheckWeights(session);
        damping = (damping ?? Info.Damping).AsOneNumber();
        var product = CurvatureProduct.Of(_matrix, session, new ParameterVector(session));
        if (damping.IsRelative)
        {
            _meanEigenvalue ??= MeanEigenvalue.Of(product, Train, Info.Seed, token);
        }

        return new DampedCurvature(product, Train, MeanEigenvalue.Damp(damping, _meanEigenvalue ?? 0, product.Name), token);
    }

    /// <summary>Checks the input, and that one product can be formed.</summary>
    private protected static CurvatureInfo CheckedInfo(
        string method,
        InfluenceTask task,
        Examples train,
        CurvatureMatrix matrix,
        Damping damping,
        long seed,
        CancellationToken token
    )
    {
        using var cost = CostMeter.Begin($"{method} fit");
        using var session = Open(task, train);
        token.ThrowIfCancellationRequested();
        using var scope = NewDisposeScope();
        CurvatureProduct.Of(matrix, session, new ParameterVector(session)).Try(train);
        return Describe(method, session, train, matrix, damping, seed);
    }

    /// <summary>Which matrix a fit stands for; null for a Fisher matrix, or none.</summary>
    internal static CurvatureMatrix? MatrixOf(CurvatureInfo info) =>
        Enum.GetValues<CurvatureMatrix>()
            .Where(matrix => Describe(matrix) == info.Matrix)
            .Select(matrix => (CurvatureMatrix?)matrix)
            .FirstOrDefault();

    private static string Describe(CurvatureMatrix matrix) =>
        matrix == CurvatureMatrix.Hessian ? "Hessian of the mean training loss" : "Gauss-Newton matrix";

    internal static GradientSession Open(InfluenceTask task, Examples train)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        return GradientSession.Open(task, train, queries: null);
    }

    internal static CurvatureInfo Describe(
        string method,
        GradientSession session,
        Examples train,
        CurvatureMatrix matrix,
        Damping damping,
        long seed
    ) =>
        new()
        {
            Method = method,
            Matrix = Describe(matrix),
            Damping = damping,
            Examples = train.Count,
            Seed = seed,
            Weights = session.WeightsFingerprint(),
        };
}
