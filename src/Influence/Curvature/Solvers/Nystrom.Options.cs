namespace Influence.Curvature;

public sealed partial class Nystrom
{
    /// <summary>How <see cref="Nystrom"/> is fitted.</summary>
    public sealed record Options
    {
        /// <summary>The damping where a call gives none; not zero, unless the rank is full.</summary>
        /// <value><see cref="Damping.Default"/>.</value>
        public Damping Damping { get; init; } = Damping.Default;

        /// <summary>The number of random test vectors K: as many products over the training examples, and vectors in memory three
        /// times.</summary>
        /// <value>100.</value>
        public int Rank
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 100;

        /// <summary>The seed of the test vectors and of the estimated mean eigenvalue.</summary>
        /// <value>0.</value>
        public long Seed { get; init; }
    }
}
