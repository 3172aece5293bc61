using System.Globalization;
using Influence.Gradients;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// The curvature as a matrix, with its eigenvectors: exact, for small models, and the measure for every approximation.
/// <code>H = V diag(l) V',   (H + damping I)^-1 g = V ((V' g) / (l + damping))</code>
/// </summary>
/// <remarks>
/// <para>
/// Cost: P products with the curvature, about P times two (Hessian) or three (Gauss-Newton) forward and backward passes over the
/// training examples, and an eigendecomposition in float64. Memory: five float64 matrices P x P while it is fitted, two
/// afterwards. Any damping is then two matrix products.
/// </para>
/// <para>
/// With a damping of 0 a direction whose eigenvalue is zero to rounding in the model's dtype is left out, which gives the
/// pseudo-inverse; a negative damped eigenvalue is an error, as no minimum has one. Reference: Koh, Liang 2017, equation 1.
/// </para>
/// </remarks>
public sealed partial class DenseCurvature : Preconditioner
{
    internal const string Method = "dense curvature";

    /// <summary>Columns that are formed in one pass over the examples.</summary>
    private const long AtOnce = 256;

    private readonly IReadOnlyList<string> _parameters;
    private readonly Tensor _values;
    private readonly Tensor _vectors;

    private DenseCurvature(CurvatureInfo info, IReadOnlyList<string> parameters, Tensor matrix, Tensor values, Tensor vectors)
        : base(info)
    {
        (_parameters, Matrix, _values, _vectors) = (parameters, matrix, values, vectors);
        Eigenvalues = values.cpu().data<double>().ToArray();
    }

    /// <summary>H, <c>[P, P]</c> in float64, symmetric, without damping. It stays the preconditioner's.</summary>
    public Tensor Matrix { get; }

    /// <summary>The eigenvalues of H, ascending, without damping.</summary>
    public IReadOnlyList<double> Eigenvalues { get; }

    /// <summary>Forms the matrix and decomposes it.</summary>
    /// <param name="task">The model and its loss; in evaluation mode.</param>
    /// <param name="train">The N training examples that the curvature is the mean over; not kept.</param>
    /// <param name="options">Matrix and damping; null: the defaults.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancellationToken">Checked between batches and vectors.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">
    /// Bad input, too many parameters, a loss whose outputs are unknown (Gauss-Newton), a model that cannot be differentiated twice.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; the model is as before.</exception>
    public static DenseCurvature Fit(
        InfluenceTask task,
        Examples train,
        Options? options = null,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        options ??= new Options();
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        ArgumentNullException.ThrowIfNull(train);
        using var reporter = new ProgressReporter(progress, $"{Method} fit", 1, train.Count, cancellationToken);
        using var session = CurvatureSolver.Open(task, train);
        var layout = new ParameterVector(session);
        if (layout.Length > options.MaximumParameters)
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The curvature of {layout.Length:N0} parameters as a matrix takes "
                        + $"{40.0 * layout.Length * layout.Length / 1e9:G3} GB and as many products; MaximumParameters is "
                        + $"{options.MaximumParameters:N0}. Use Ekfac.Fit or ConjugateGradient.Fit, or fewer parameters by Layers."
                )
            );
        }

        var product = CurvatureProduct.Of(options.Matrix, session, layout);
        product.Try(train);
        reporter.ExpectPasses(Passes(layout.Length));
        var matrix = Form(layout, units => product.Over(train, units, reporter.Token, reporter.Add)); // [P, P]
        var (values, vectors) = linalg.eigh(matrix); // [P], [P, P]
        return new DenseCurvature(
            CurvatureSolver.Describe(Method, session, train, options.Matrix, options.Damping, seed: 0),
            layout.Names,
            matrix.DetachFromDisposeScope(),
            values.DetachFromDisposeScope(),
            vectors.DetachFromDisposeScope()
        );
    }

    /// <summary>Saves everything, to be loaded where the model has the same weights.</summary>
    /// <param name="path">Ends in <c>.safetensors</c>. Written whole or not at all.</param>
    /// <exception cref="InfluenceException">Another ending, or the file cannot be written.</exception>
    public void Save(string path) =>
        EigenFile.Save(path, Info, _parameters, string.Empty, ("matrix", Matrix), ("eigenvalues", _values), ("eigenvectors", _vectors));

    /// <summary>Loads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <param name="device">Where its tensors go; null: the CPU.</param>
    /// <returns>The preconditioner; dispose it.</returns>
    /// <exception cref="InfluenceException">The file cannot be read, is cut off, or holds something else.</exception>
    public static new DenseCurvature Load(string path, Device? device = null)
    {
        using var scope = NewDisposeScope();
        var (info, parameters, _, tensors) = EigenFile.Load(path, Method, device);
        var matrix = tensors.Take("matrix", [-1, -1]); // [P, P]
        var values = tensors.Take("eigenvalues", [matrix.shape[0]]);
        var vectors = tensors.TakeVectors("eigenvectors", [matrix.shape[0], matrix.shape[0]], along: 0);
        tensors.CheckAllTaken();
        return matrix.shape[1] == matrix.shape[0]
            ? new DenseCurvature(
                info,
                parameters,
                matrix.DetachFromDisposeScope(),
                values.DetachFromDisposeScope(),
                vectors.DetachFromDisposeScope()
            )
            : throw new InfluenceException(
                $"{path} is no fit that can be used: \"matrix\" is [{matrix.shape[0]}, {matrix.shape[1]}]; expected a square."
            );
    }

    private protected override Inverse PrepareInverse(GradientSession session, Damping? damping, double tolerance, CancellationToken token)
    {
        CheckWeights(session);
        var layout = new ParameterVector(session);
        layout.CheckLength(_vectors.shape[0], Method);
        var absolute = (damping ?? Info.Damping).For(Eigenvalues.Average());
        return new Spectral(layout, _vectors, Inverted(Eigenvalues, absolute, session.Dtype, Info.Matrix), absolute);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        Matrix.Dispose();
        _values.Dispose();
        _vectors.Dispose();
    }

    /// <summary>1 / (l + damping); 0 where there is no damping and l is zero to the rounding of the products, which are the
    /// model's.</summary>
    /// <param name="eigenvalues">Ascending.</param>
    /// <param name="damping">Absolute.</param>
    /// <param name="dtype">The model's.</param>
    /// <param name="name">What the matrix is, for the error.</param>
    internal static double[] Inverted(IReadOnlyList<double> eigenvalues, double damping, ScalarType dtype, string name)
    {
        var rounding = damping > 0 ? 0 : eigenvalues.Count * (dtype == ScalarType.Float64 ? 2.2e-16 : 1.2e-7) * eigenvalues.Max(Math.Abs);
        var least = eigenvalues[0] + damping;
        if (least < -rounding || (damping > 0 && least <= 0))
        {
            throw new InfluenceException(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The {name} has the eigenvalue {eigenvalues[0]:G4}: with a damping of {damping:G4} it is not positive "
                        + $"definite, and its inverse would turn signs. Write Damping.Absolute(d) with d above {-eigenvalues[0]:G4}, or "
                        + $"ask for CurvatureMatrix.GaussNewton."
                )
            );
        }

        return [.. eigenvalues.Select(value => value + damping > rounding ? 1 / (value + damping) : 0)];
    }

    /// <summary>The passes over the examples that <see cref="Form"/> takes.</summary>
    internal static long Passes(long parameters) => (parameters + AtOnce - 1) / AtOnce;

    /// <summary>A curvature as a matrix, <c>[P, P]</c> in float64, in the current scope.</summary>
    /// <param name="layout">The order of the parameters.</param>
    /// <param name="multiply">Its product with rows <c>[K, P]</c>.</param>
    internal static Tensor Form(ParameterVector layout, Func<Tensor, Tensor> multiply)
    {
        var matrix = empty([layout.Length, layout.Length], ScalarType.Float64, layout.Device);
        for (long first = 0; first < layout.Length; first += AtOnce)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(AtOnce, layout.Length - first);
            var units = zeros([count, layout.Length], layout.Dtype, layout.Device); // [K, P]
            units.narrow(1, first, count).diagonal().fill_(Kept(1));
            matrix.narrow(0, first, count).copy_(multiply(units));
        }

        using var transposed = matrix.t().contiguous();
        return matrix.add_(transposed).mul_(Kept(0.5));
    }

    private sealed class Spectral(ParameterVector layout, Tensor vectors, double[] inverted, double damping) : VectorInverse(layout)
    {
        public override IReadOnlyList<(string Block, double Damping)> Dampings => [("all parameters", damping)];

        public override Tensor Solve(Tensor gradients)
        {
            var coefficients = gradients.to_type(ScalarType.Float64).mm(vectors); // [B, P]
            return (coefficients * tensor(inverted, device: gradients.device)).mm(vectors.t()); // [B, P]
        }
    }
}
