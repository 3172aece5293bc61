namespace Influence.Curvature;

public sealed partial class BlockConjugateGradient
{
    /// <summary>How <see cref="BlockConjugateGradient"/> solves.</summary>
    public sealed record Options
    {
        /// <summary>The damping of the system where a call gives none; a relative one is relative to the mean eigenvalue that the inner fit
        /// has of each layer.</summary>
        /// <value><see cref="Damping.Default"/>.</value>
        public Damping Damping { get; init; } = Damping.Default;

        /// <summary>The damping of the approximate inverse.</summary>
        /// <value>Null: that of the system.</value>
        public Damping? InnerDamping { get; init; }

        /// <summary>
        /// The share a of the inner fit's own curvature P in the matrix that is solved with, (1 - a) G + a P + damping: 0 is the
        /// Gauss-Newton matrix G, and towards 1 the scores become those of the inner fit. Where a model fits its training examples almost
        /// perfectly few examples carry G, and a share of P keeps the solve from amplifying what they leave flat; it also bounds the
        /// smallest eigenvalue that is iterated on by a.
        /// </summary>
        /// <value>0.</value>
        public double Shrinkage
        {
            get;
            init => field = Check.ShareBelowOne(value);
        }

        /// <summary>How many training examples the Gauss-Newton matrix is the mean over, drawn once by the seed; all where there are no
        /// more.</summary>
        /// <value>2,048.</value>
        public int Examples
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 2048;

        /// <summary>The relative residual |b - A x| / |b| where it stops, and above which a result is reported as short of its
        /// aim.</summary>
        /// <value>0.05.</value>
        public double Tolerance
        {
            get;
            init => field = Check.InsideUnit(value);
        } = 0.05;

        /// <summary>Iterations at most; each is one pass over the drawn examples.</summary>
        /// <value>20.</value>
        public int MaximumIterations
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 20;

        /// <summary>The seed of the draw of examples.</summary>
        /// <value>0.</value>
        public long Seed { get; init; }
    }
}
