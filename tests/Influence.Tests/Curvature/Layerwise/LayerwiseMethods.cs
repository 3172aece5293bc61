using Influence.Curvature;

namespace Influence.Tests.Curvature;

/// <summary>The layer-wise preconditioners by name, for tests of what they have in common.</summary>
internal static class LayerwiseMethods
{
    public static readonly string[] All = ["EK-FAC", "K-FAC", "diagonal Fisher", "gradient dot product"];

    public static readonly Ekfac.Options Empirical = new() { Fisher = Fisher.Empirical };

    public static Preconditioner Fit(string method, InfluenceTask task, Examples train, Ekfac.Options? options = null) =>
        method switch
        {
            "gradient dot product" => NoCurvature.Fit(task, train),
            _ => FitLayerwise(method, task, train, options),
        };

    public static LayerwisePreconditioner FitLayerwise(
        string method,
        InfluenceTask task,
        Examples train,
        Ekfac.Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken token = default
    ) =>
        method switch
        {
            "EK-FAC" => Ekfac.Fit(task, train, options ?? Empirical, progress, token),
            "K-FAC" => Kfac.Fit(task, train, options ?? Empirical, progress, token),
            "diagonal Fisher" => DiagonalFisher.Fit(task, train, options ?? Empirical, progress, token),
            _ => throw new ArgumentException(method),
        };

    public static CurvatureCost Estimate(string method, InfluenceTask task, Examples train, Ekfac.Options? options = null) =>
        method switch
        {
            "EK-FAC" => Ekfac.Estimate(task, train, options ?? Empirical),
            "K-FAC" => Kfac.Estimate(task, train, options ?? Empirical),
            "diagonal Fisher" => DiagonalFisher.Estimate(task, train, options ?? Empirical),
            _ => throw new ArgumentException(method),
        };

    public static LayerwisePreconditioner Load(string method, string path) =>
        method switch
        {
            "EK-FAC" => Ekfac.Load(path),
            "K-FAC" => Kfac.Load(path),
            "diagonal Fisher" => DiagonalFisher.Load(path),
            _ => throw new ArgumentException(method),
        };
}
