namespace Influence.Curvature;

public sealed partial class ConjugateGradient
{
    /// <summary>How <see cref="ConjugateGradient"/> solves.</summary>
    public sealed record Options
    {
        /// <summary>The matrix.</summary>
        /// <value><see cref="CurvatureMatrix.GaussNewton"/>.</value>
        public CurvatureMatrix Matrix
        {
            get;
            init => field = Check.Defined(value);
        } = CurvatureMatrix.GaussNewton;

        /// <summary>The damping where a call gives none.</summary>
        /// <value><see cref="Damping.Default"/>.</value>
        public Damping Damping { get; init; } = Damping.Default;

        /// <summary>Stops where |b - A x| is at most this times |b|. In float32 about 1e-6 can be reached.</summary>
        /// <value>1e-6.</value>
        public double Tolerance
        {
            get;
            init => field = Check.InsideUnit(value);
        } = 1e-6;

        /// <summary>Stops after so many, however far it came; the result says how far. Each is one pass over the training
        /// examples.</summary>
        /// <value>500.</value>
        public int MaximumIterations
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 500;

        /// <summary>The seed of the draws that estimate the mean eigenvalue, where the damping is relative.</summary>
        /// <value>0.</value>
        public long Seed { get; init; }
    }
}
