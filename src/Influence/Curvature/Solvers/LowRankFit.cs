using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>A few eigenpairs of the curvature, as <see cref="Arnoldi"/> and <see cref="Nystrom"/> keep them. Owns its vectors.</summary>
/// <param name="Values">Without damping.</param>
/// <param name="Vectors">Orthonormal rows <c>[K, P]</c>, in the model's dtype.</param>
/// <param name="MeanEigenvalue">An estimate of the whole trace over P.</param>
/// <param name="Parameters">What the columns are.</param>
/// <param name="Report">How the fit went.</param>
internal sealed record LowRankFit(double[] Values, Tensor Vectors, double MeanEigenvalue, IReadOnlyList<string> Parameters, string Report)
    : IDisposable
{
    /// <summary>
    /// Opens a session, estimates the trace, and finds eigenpairs: from the layout and a product with rows <c>[K, P]</c> over
    /// all examples to eigenvalues, eigenvectors and a report.
    /// </summary>
    public static (CurvatureInfo Info, LowRankFit Fit) Run(
        string method,
        InfluenceTask task,
        Examples train,
        CurvatureMatrix matrix,
        Damping damping,
        long seed,
        int expectedPasses,
        Func<ParameterVector, Func<Tensor, Tensor>, (double[] Values, Tensor Vectors, string Report)> find,
        IProgress<InfluenceProgress>? progress,
        CancellationToken token
    )
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        ArgumentNullException.ThrowIfNull(train);
        using var reporter = new ProgressReporter(progress, $"{method} fit", 1, train.Count, token);
        using var session = CurvatureSolver.Open(task, train);
        var layout = new ParameterVector(session);
        var product = CurvatureProduct.Of(matrix, session, layout);
        product.Try(train);
        reporter.ExpectPasses(expectedPasses);
        var mean = Curvature.MeanEigenvalue.Of(product, train, seed, token);
        var (values, vectors, report) = find(layout, v => product.Over(train, v, token, reporter.Add));
        Log.Fitted(task.Logger, method, train.Count, reporter.Elapsed.TotalSeconds);
        var info = CurvatureSolver.Describe(method, session, train, matrix, damping, seed);
        return (info, new LowRankFit(values, vectors.DetachFromDisposeScope(), mean, layout.Names, report));
    }

    public void Save(string path, CurvatureInfo info)
    {
        using var scope = NewDisposeScope();
        EigenFile.Save(
            path,
            info,
            Parameters,
            Report,
            ("eigenvalues", tensor(Values)),
            ("eigenvectors", Vectors),
            ("mean_eigenvalue", tensor(new[] { MeanEigenvalue }))
        );
    }

    /// <param name="path">The file.</param>
    /// <param name="method">The method that it must be by.</param>
    /// <param name="device">Where the vectors go.</param>
    /// <param name="notNegative">Whether the method keeps no negative eigenvalues.</param>
    public static (CurvatureInfo Info, LowRankFit Fit) Load(string path, string method, Device? device, bool notNegative)
    {
        using var scope = NewDisposeScope();
        var (info, parameters, report, tensors) = EigenFile.Load(path, method, device);
        var vectors = tensors.TakeVectors("eigenvectors", [-1, -1], along: 1); // [K, P]
        var values = tensors.Take("eigenvalues", [vectors.shape[0]], statistics: true, notNegative);
        var mean = tensors.Take("mean_eigenvalue", [1], statistics: true);
        tensors.CheckAllTaken();
        return (
            info,
            new LowRankFit(values.data<double>().ToArray(), vectors.DetachFromDisposeScope(), mean.item<double>(), parameters, report)
        );
    }

    public void Dispose() => Vectors.Dispose();
}
