namespace Influence.Curvature;

public sealed partial class DataInf
{
    /// <summary>How <see cref="DataInf"/> is fitted.</summary>
    public sealed record Options
    {
        /// <summary>Which labels the per-example gradients of the curvature are taken with.</summary>
        /// <value><see cref="Fisher.Empirical"/>, as the method is published.</value>
        public Fisher Fisher
        {
            get;
            init => field = Check.Defined(value);
        } = Fisher.Empirical;

        /// <summary>The damping where a call gives none; of each block on its own where it is relative. Not zero.</summary>
        /// <value><see cref="Damping.Default"/>, 0.1 times the block's mean eigenvalue, as the method is published.</value>
        public Damping Damping { get; init; } = Damping.Default;

        /// <summary>The seed of sampled labels.</summary>
        /// <value>0.</value>
        public long Seed { get; init; }
    }
}
