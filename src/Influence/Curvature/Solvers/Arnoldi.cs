using System.Globalization;
using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The curvature's largest eigenvalues by Arnoldi's iteration, and the inverse on their eigenvectors only.
/// <code>sum over the k largest of v_k (v_k . g) / (l_k + damping)</code>
/// </summary>
/// <remarks>
/// <para>
/// This is not a damped inverse: what lies outside the kept directions gets no weight, where (H + damping I)^-1 gives it the most. Scores
/// show the directions of high curvature. A repeated eigenvalue is found once only. With as many iterations as there are
/// distinct eigenvalues, and no zero ones, it is the exact inverse.
/// </para>
/// <para>
/// Cost: one product over the training examples for each iteration; memory: one vector of the parameters' size each. Using it is two
/// matrix products. Each new vector is made orthogonal to all before it twice. Reference: Schioppa, Zablotskaia, Vilar, Sokolov,
/// "Scaling Up Influence Functions", AAAI 2022, section 4.
/// </para>
/// </remarks>
public sealed partial class Arnoldi : Preconditioner
{
    internal const string Method = "Arnoldi";

    private readonly LowRankFit _fit;

    private Arnoldi(CurvatureInfo info, LowRankFit fit)
        : base(info) => _fit = fit;

    /// <summary>The eigenvalues that are kept, the largest in magnitude first, without damping.</summary>
    public IReadOnlyList<double> Eigenvalues => _fit.Values;

    /// <summary>Iterates.</summary>
    /// <param name="task">The model and its loss; in evaluation mode.</param>
    /// <param name="train">The N training examples that the curvature is the mean over; not kept.</param>
    /// <param name="options">Iterations, the number of eigenvalues; null: the defaults.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">Bad input, a loss whose outputs are unknown (Gauss-Newton), a model that cannot be
    /// differentiated twice.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static Arnoldi Fit(
        InfluenceTask task,
        Examples train,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        options ??= new Options();
        var (info, fit) = LowRankFit.Run(
            Method,
            task,
            train,
            options.Matrix,
            options.Damping,
            options.Seed,
            options.Iterations,
            (layout, multiply) =>
            {
                var (values, vectors, residual, products) = KrylovSpace.Largest(multiply, layout, options);
                return (
                    values,
                    vectors,
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{products} iterations, {values.Length} eigenvalues kept, largest |H v - l v| {residual:G3}"
                    )
                );
            },
            progress,
            cancellationToken
        );
        return new Arnoldi(info, fit);
    }

    /// <summary>Saves everything, to be loaded where the model has the same weights.</summary>
    /// <param name="path">Ends in <c>.safetensors</c>. Written whole or not at all.</param>
    /// <exception cref="InfluenceException">Another ending, or the file cannot be written.</exception>
    public void Save(string path) => _fit.Save(path, Info);

    /// <summary>Loads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <param name="device">Where its tensors go, the model's device; null: the CPU.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">The file cannot be read, is cut off, or holds something else.</exception>
    public static new Arnoldi Load(string path, Device? device = null)
    {
        var (info, fit) = LowRankFit.Load(path, Method, device, notNegative: false);
        return new Arnoldi(info, fit);
    }

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        var layout = new ParameterVector(session);
        layout.CheckLength(_fit.Vectors.shape[1], Method);
        var absolute = MeanEigenvalue.Damp(damping ?? Info.Damping, _fit.MeanEigenvalue, Info.Matrix);
        var floor = Eigenvalues.Select(Math.Abs).DefaultIfEmpty(0).Max() * 1e-12;
        double[] weights = [.. Eigenvalues.Select(l => Math.Abs(l + absolute) > floor ? 1 / (l + absolute) : 0)];
        return new LowRankInverse(layout, _fit.Vectors, weights, 0, absolute, _fit.Report);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _fit.Dispose();
}
