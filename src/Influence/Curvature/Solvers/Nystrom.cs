using System.Globalization;
using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// A low-rank picture of the Gauss-Newton matrix from its products with K random orthonormal vectors, and its damped inverse.
/// <code>G ~ (G W) (W' G W)^-1 (G W)' = U diag(l) U',   (G + damping I)^-1 g ~ U ((U' g) / (l + damping)) + (g - U U' g) / damping</code>
/// </summary>
/// <remarks>
/// <para>
/// Exact once K is the rank of G. Below that, directions that were missed count as flat, and get the weight 1 / damping, which is too much:
/// the error is of the order of the first eigenvalue left out over the damping. The report tells the smallest one kept.
/// </para>
/// <para>
/// Cost: K products over the training examples, in which all vectors share the forward pass, and a QR and an
/// eigendecomposition of size K. Using it is two matrix products. References: Frangella, Tropp, Udell, "Randomized Nystrom
/// Preconditioning", SIAM J. Matrix Anal. Appl. 2023, algorithm 2.1; Hataya, Yamada, "Nystrom Method for Accurate and Scalable Implicit
/// Differentiation", AISTATS 2023.
/// </para>
/// </remarks>
public sealed partial class Nystrom : Preconditioner
{
    internal const string Method = "Nystrom";

    private readonly LowRankFit _fit;

    private Nystrom(CurvatureInfo info, LowRankFit fit)
        : base(info) => _fit = fit;

    /// <summary>The eigenvalues that were found, descending, without damping.</summary>
    public IReadOnlyList<double> Eigenvalues => _fit.Values;

    /// <summary>Multiplies with the test vectors and decomposes.</summary>
    /// <param name="task">The model and its loss, made of <see cref="Losses"/>; in evaluation mode.</param>
    /// <param name="train">The N training examples that the curvature is the mean over; not kept.</param>
    /// <param name="options">Rank and damping; null: the defaults.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches and vectors.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">Bad input, a loss whose outputs are unknown, a model that cannot be differentiated
    /// twice.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static Nystrom Fit(
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
            CurvatureMatrix.GaussNewton,
            options.Damping,
            options.Seed,
            1,
            (layout, multiply) => Sketch(layout, multiply, options),
            progress,
            cancellationToken
        );
        return new Nystrom(info, fit);
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
    public static new Nystrom Load(string path, Device? device = null)
    {
        var (info, fit) = LowRankFit.Load(path, Method, device, notNegative: true);
        return new Nystrom(info, fit);
    }

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        var layout = new ParameterVector(session);
        layout.CheckLength(_fit.Vectors.shape[1], Method);
        var absolute = MeanEigenvalue.Damp(damping ?? Info.Damping, _fit.MeanEigenvalue, Info.Matrix);
        if (absolute == 0 && Eigenvalues.Count < layout.Length)
        {
            throw new InfluenceException(
                $"Nystrom found {Eigenvalues.Count} eigenvalues of {layout.Length}: what is left would be divided by a damping of zero. "
                    + "Write Damping = Damping.RelativeToMeanEigenvalue(0.1)."
            );
        }

        double[] weights = [.. Eigenvalues.Select(l => 1 / (l + absolute))];
        return new LowRankInverse(layout, _fit.Vectors, weights, absolute == 0 ? 0 : 1 / absolute, absolute, _fit.Report);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing) => _fit.Dispose();

    private static (double[] Values, Tensor Vectors, string Report) Sketch(
        ParameterVector layout,
        Func<Tensor, Tensor> multiply,
        Options options
    )
    {
        using var scope = NewDisposeScope();
        var rank = Math.Min(options.Rank, layout.Length);
        var random = SeededNumbers.Normal(options.Seed, rank, layout.Length, ScalarType.Float64, layout.Device);
        var (test, _) = linalg.qr(random.t()); // [P, K], orthonormal columns
        var image = multiply(test.t().to_type(layout.Dtype).contiguous()).to_type(ScalarType.Float64).t(); // [P, K], G W

        // A small shift keeps rounding from making the core indefinite; it is taken off again below.
        var rounding = layout.Dtype == ScalarType.Float64 ? 2.2e-16 : 1.2e-7;
        var shift = Math.Sqrt(layout.Length) * rounding * image.norm().item<double>();
        var shifted = image + (Kept(shift) * test);
        var core = test.t().mm(shifted); // [K, K]
        var (values, vectors) = linalg.eigh((core + core.t()) * Kept(0.5));
        var floor = values[^1].item<double>() * rank * rounding;
        var root = where(values.gt(Kept(floor)), values.rsqrt(), zeros_like(values)); // the pseudo-inverse's square root
        var (u, s, _) = linalg.svd(shifted.mm(vectors * root), fullMatrices: false); // [P, K], [K]
        double[] found = [.. s.Squared().data<double>().ToArray().Select(l => l - shift)];
        var kept = found.Count(l => l > Math.Max(floor, shift));
        double[] eigenvalues = found[..kept];
        return (
            eigenvalues,
            u.narrow(1, 0, kept).t().to_type(layout.Dtype).contiguous().MoveToOuterDisposeScope(),
            string.Create(
                CultureInfo.InvariantCulture,
                $"rank {kept} of {rank} vectors, smallest eigenvalue kept {eigenvalues.DefaultIfEmpty(0).Last():G3}"
            )
        );
    }
}
