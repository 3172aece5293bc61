using Influence.Curvature;
using Influence.Distributed;
using static TorchSharp.torch;

namespace Influence.Stores;

/// <summary>
/// In how many dimensions a <see cref="GradientStore"/> keeps gradients, and how. A weight <c>[O, I]</c> is projected from both sides,
/// <code>R_o' G R_i,   R_o [O, k_o],   R_i [I, k_i],   k_o = min(k, O),   k_i = min(k, I)</code>
/// with independent random signs over sqrt(k), so that inner products are kept on average; a side that is no larger than k is left as it
/// is.
/// </summary>
/// <remarks>
/// <para>
/// Convolutions are taken as <c>[O, inputs * kernel]</c>, embeddings as <c>[vocabulary, width]</c>. Biases and the gains of norms are kept
/// whole up to k^2 numbers, and projected from their one side to k numbers beyond.
/// </para>
/// <para>
/// The relative standard deviation of the product of two orthogonal gradients of one position is 1/k; of a squared norm it is sqrt((1 +
/// 2/k)^2 - 1), 0.25 at k = 64: exact norms are stored beside.
/// Reference: Choe et al., "What is Your Data Worth to GPT?", 2024 (LoGRA).
/// </para>
/// </remarks>
public sealed record GradientProjection
{
    /// <summary>How gradients are projected.</summary>
    public enum Kind
    {
        /// <summary>R_o' G R_i layer by layer, with random signs. The cheapest: of factored gradients only the factors are
        /// projected.</summary>
        TwoSided,

        /// <summary>
        /// The same with the k eigenvectors of the largest eigenvalues of A (a layer's inputs) and S (its output gradients), which one pass
        /// over the data gives first; of layers that are no sums of outer products the signs stay. Distances that the data fill are kept
        /// better, and what lies outside of them is lost, so that nothing is right on average.
        /// </summary>
        Principal,

        /// <summary>R' g of the whole gradient, R [P, k] of random signs over sqrt(k), k = Dimension numbers in all (TRAK). It costs N P k
        /// operations, far more than the others.</summary>
        Dense,

        /// <summary>Each of P parameters is added, with a random sign, to one of k = Dimension columns: one addition a parameter, on
        /// gradients that are written out.</summary>
        CountSketch,
    }

    /// <summary>What is projected.</summary>
    public enum UpdateDirection
    {
        /// <summary>The gradient.</summary>
        Gradient,

        /// <summary>
        /// Of training examples the update that Adam makes of their gradient g at the moments m, v of step t, of queries the gradient
        /// (LESS): with n = t + 1
        /// <code>(b1 m + (1 - b1) g) / (1 - b1^n)  /  (sqrt((b2 v + (1 - b2) g^2) / (1 - b2^n)) + eps)</code>
        /// Each gradient is written out for it.
        /// </summary>
        AdamUpdate,

        /// <summary>g / (sqrt(v / (1 - b2^t)) + eps) of training examples and queries alike (TrackStar). Each gradient is written out for
        /// it.</summary>
        AdamScaled,

        /// <summary>
        /// (H + damping I)^(-1/2) g of training examples and queries alike, with the curvature of
        /// <see cref="GradientProjection.Preconditioner"/>: dot products are then influence scores, and norms the roots of self-influences.
        /// With EK-FAC
        /// <code>R_o' Q_G [ (Q_G' G Q_A) / sqrt(eigenvalues + damping) ] Q_A' R_i</code>
        /// the sides of the projection being turned into the eigenbasis once: O I k operations an example, more than the passes of a small
        /// model take. With every side kept whole the products are those of <c>InfluenceFunction</c>.
        /// </summary>
        Preconditioned,
    }

    /// <summary>The gradient, or what Adam makes of it.</summary>
    /// <value><see cref="UpdateDirection.Gradient"/>.</value>
    /// <exception cref="InfluenceException">No such direction.</exception>
    public UpdateDirection Direction
    {
        get;
        init => field = Check.Defined(value);
    } = UpdateDirection.Gradient;

    /// <summary>The checkpoint with Adam's moments, saved after one of its steps; they are copied into the store.</summary>
    /// <value>Null: none are needed.</value>
    public Checkpoint? Moments { get; init; }

    /// <summary>The curvature of <see cref="UpdateDirection.Preconditioned"/>, fitted at the weights that the store is written with; it is
    /// copied into the store.</summary>
    /// <value>Null: none is needed.</value>
    public LayerwisePreconditioner? Preconditioner { get; init; }

    /// <summary>The damping of that curvature.</summary>
    /// <value>Null: the preconditioner's own.</value>
    public Damping? Damping { get; init; }

    /// <summary>Two-sided with signs or principal directions, dense, or a sketch.</summary>
    /// <value><see cref="Kind.TwoSided"/>.</value>
    /// <exception cref="InfluenceException">No such form.</exception>
    public Kind Form
    {
        get;
        init => field = Check.Defined(value);
    } = Kind.TwoSided;

    /// <summary>
    /// k, the number of dimensions that each side of a layer is brought to, a smaller side being kept whole; of <see cref="Kind.Dense"/>
    /// and <see cref="Kind.CountSketch"/> the number of numbers in all, with everything kept where the gradient has no more.
    /// </summary>
    /// <value>64: at most 4,096 numbers a layer.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int Dimension
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 64;

    /// <summary>Of the random signs.</summary>
    /// <value>0.</value>
    public long Seed { get; init; }

    /// <summary>
    /// In what the numbers are stored: Int8 (with one float32 scale for each block of 128 numbers of a layer), Float16 (with one scale an
    /// example, by which its largest number is 2^15), Float32 or Float64. With s_b a block's largest absolute number over 127, Int8 changes
    /// <code>a number by at most                    s_b / 2, 1/254 of the largest of its block
    /// p(q) . p(z) by at most                 sum over blocks of |p_b(q)|_1 s_b / 2
    /// with a standard deviation of about     sqrt(sum over blocks of |p_b(q)|^2 s_b^2 / 12)</code>
    /// </summary>
    /// <remarks>
    /// For normally distributed numbers the row changes by 0.6 % of its norm, and a product of two of 4,096 numbers by 1e-4 of the product
    /// of the norms, where the projection of each side to 64 dimensions itself changes it by 1.6e-2. Blocks keep a single large number from
    /// costing others than its 127 neighbours.
    /// </remarks>
    /// <value>Float32.</value>
    /// <exception cref="InfluenceException">Another type.</exception>
    public ScalarType Dtype
    {
        get;
        init =>
            field = value is ScalarType.Int8 or ScalarType.Float16 or ScalarType.Float32 or ScalarType.Float64
                ? value
                : throw new InfluenceException($"Dtype is Int8, Float16, Float32 or Float64, not {value}.");
    } = ScalarType.Float32;

    /// <summary>How many examples a file holds; so many are lost at most when a call is cut off.</summary>
    /// <value>256.</value>
    /// <exception cref="InfluenceException">Less than 1.</exception>
    public int ExamplesPerShard
    {
        get;
        init => field = Check.AtLeastOne(value);
    } = 256;

    /// <summary>Bytes that gradients may take while they are projected. Cost only.</summary>
    /// <value>1 GiB.</value>
    public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.Default;

    /// <summary>A folder by which several processes share the writing of one store: its shards are claimed there. It is not part of the
    /// projection, and the store is the same without.</summary>
    /// <value>Null: one process writes.</value>
    public Work? Work { get; init; }

    internal bool IsByLayer => Form is Kind.TwoSided or Kind.Principal;
}
