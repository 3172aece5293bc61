using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// What preconditioners share that solve (H + damping I) x = g by products with the curvature: the matrix is never formed. Each use
/// reads the training examples of the fit again, which stay the caller's.
/// </summary>
/// <param name="fit">The preconditioner.</param>
/// <param name="train">The training examples of the fit.</param>
/// <param name="matrix">The curvature.</param>
internal sealed class CurvatureSolver(Preconditioner fit, Examples train, CurvatureMatrix matrix)
{
    private double? _meanEigenvalue;
    private double? _largestEigenvalue;

    /// <summary>The training examples of the fit.</summary>
    public Examples Train => train;

    /// <summary>The largest eigenvalue in magnitude, found at the first use.</summary>
    public double LargestEigenvalue(DampedCurvature system) =>
        _largestEigenvalue ??= PowerIteration.Of(v => system.Product.Over(train, v, system.Token), system.Product.Layout, fit.Info.Seed);

    /// <summary>What is to be solved, in a session on a model that has the weights of the fit.</summary>
    public DampedCurvature System(GradientSession session, Damping? damping, CancellationToken token)
    {
        fit.CheckWeights(session);
        damping = (damping ?? fit.Info.Damping).AsOneNumber();
        var product = CurvatureProduct.Of(matrix, session, new ParameterVector(session));
        if (damping.IsRelative)
        {
            _meanEigenvalue ??= MeanEigenvalue.Of(product, train, fit.Info.Seed, token);
        }

        return new DampedCurvature(product, train, MeanEigenvalue.Damp(damping, _meanEigenvalue ?? 0, product.Name), token);
    }

    /// <summary>Checks the input, and that one product can be formed.</summary>
    public static CurvatureInfo CheckedInfo(
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
    public static CurvatureMatrix? MatrixOf(CurvatureInfo info) =>
        Enum.GetValues<CurvatureMatrix>()
            .Where(matrix => Describe(matrix) == info.Matrix)
            .Select(matrix => (CurvatureMatrix?)matrix)
            .FirstOrDefault();

    private static string Describe(CurvatureMatrix matrix) =>
        matrix == CurvatureMatrix.Hessian ? "Hessian of the mean training loss" : "Gauss-Newton matrix";

    public static GradientSession Open(InfluenceTask task, Examples train)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(train);
        InfluenceException.ThrowIfAny([.. train.Problems("training examples")]);
        return GradientSession.Open(task, train, queries: null);
    }

    public static CurvatureInfo Describe(
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
