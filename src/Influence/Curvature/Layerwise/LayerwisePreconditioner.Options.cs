using Influence.Distributed;

namespace Influence.Curvature;

public abstract partial class LayerwisePreconditioner
{
    /// <summary>How the layer-wise curvatures (<see cref="Ekfac"/>, <see cref="Kfac"/>, <see cref="DiagonalFisher"/>) are fitted.</summary>
    public sealed record Options
    {
        /// <summary>Which labels the gradients are taken with.</summary>
        /// <value><see cref="Curvature.Fisher.Sampled"/>.</value>
        public Fisher Fisher
        {
            get;
            init => field = Check.Defined(value);
        } = Fisher.Sampled;

        /// <summary>
        /// What the Kronecker factors of a layer are made of: the bases of <see cref="Ekfac"/>, and with their eigenvalues the whole of
        /// <see cref="Kfac"/>. A table that is embedding and head at once has K-FAC's alone with <see cref="Ekfac"/>.
        /// </summary>
        /// <value><see cref="FactorKind.Kfac"/>.</value>
        public FactorKind Factors
        {
            get;
            init => field = Check.Defined(value);
        }

        /// <summary>The damping where a call gives none.</summary>
        /// <value>0.1 x the layer's mean eigenvalue.</value>
        public Damping Damping { get; init; } = Damping.Default;

        /// <summary>The seed of sampled labels, which are keyed by (seed, example id, position).</summary>
        /// <value>0.</value>
        public long Seed { get; init; }

        /// <summary>
        /// How many labels are drawn for each example with <see cref="Curvature.Fisher.Sampled"/>; the curvature is the mean over them,
        /// and the fit takes as many times as long. With a model that fits its training examples almost perfectly nearly every label
        /// drawn is the example's own, and the few others decide: more draws are a better estimate of the true Fisher. Whether that is
        /// the better curvature for scores is another matter, to be tried like the damping. On one MLP (Fashion-MNIST, 99.7% training
        /// accuracy) 16 draws raised the linear datamodeling score of EK-FAC from 0.35 to 0.42, on another (MNIST, dropout) they lowered
        /// it from 0.29 to 0.20; <see cref="Curvature.Fisher.Empirical"/> gave 0.42 and 0.31.
        /// </summary>
        /// <value>1.</value>
        /// <exception cref="InfluenceException">Less than 1.</exception>
        public int LabelDraws
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 1;

        /// <summary>
        /// The largest covariance matrix that is made whole. A wider layer's is split into equal diagonal blocks of at most this
        /// size: the work of the decomposition falls with the square of the number of blocks, and correlations between blocks are
        /// left out (Grosse et al. 2023, appendix A).
        /// </summary>
        /// <value>8,192.</value>
        public int MaximumFactorSize
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 8192;

        /// <summary>
        /// Fused projections: by the weight's name, the numbers of output rows that belong together, for example
        /// <c>["attn.qkv.weight"] = [512, 128, 128]</c>. Each part has an output covariance of its own, as separate layers would.
        /// </summary>
        /// <value>Empty: a layer is one piece.</value>
        public IReadOnlyDictionary<string, IReadOnlyList<long>> OutputSplits { get; init; } = new Dictionary<string, IReadOnlyList<long>>();

        /// <summary>
        /// Bytes that the fit may take beside the model and one batch's activations. A fit that needs more is refused before it
        /// begins. It does not change results.
        /// </summary>
        /// <value>Half of the memory that this process may use.</value>
        public MemoryBudget MemoryBudget { get; init; } = MemoryBudget.HalfOfMemory;

        /// <summary>
        /// A folder that keeps what is finished, unit by unit, and that several processes may share: the same call goes on where one was
        /// cut off, and ends with the same bytes. Sums are then rounded by units: the fit differs in its last digits from one without.
        /// </summary>
        /// <value>Null: one process, and nothing is kept.</value>
        public Work? Work { get; init; }

        /// <summary>The matrix that is fitted, in words.</summary>
        internal string Matrix =>
            Fisher == Fisher.Empirical ? "empirical Fisher, the data's labels"
            : LabelDraws == 1 ? "true Fisher, labels sampled from the model"
            : $"true Fisher, {LabelDraws} labels an example sampled from the model";

        /// <summary>What does not go together.</summary>
        internal IEnumerable<string> Problems(CurvatureKind kind)
        {
            if (kind == CurvatureKind.Diagonal && Factors != FactorKind.Kfac)
            {
                yield return $"Factors = {Factors} is for Ekfac and Kfac; a diagonal has no factors. Leave it out, or use Ekfac.Fit(...).";
            }

            if (Damping.Decay is not null)
            {
                yield return $"Damping.{Damping.Decay.Maker} belongs to a call and is not kept with a fit. Write "
                    + $"new InfluenceFunction(fit) {{ Damping = Damping.{Damping.Decay.Maker}(...) }}.";
            }

            if (Fisher == Fisher.Empirical && LabelDraws > 1)
            {
                yield return $"LabelDraws = {LabelDraws} is for Fisher.Sampled; the empirical Fisher takes the data's labels, once each.";
            }
        }
    }
}
