namespace Influence.Curvature;

public sealed partial class Arnoldi
{
    /// <summary>How <see cref="Arnoldi"/> is fitted.</summary>
    public sealed record Options
    {
        /// <summary>The matrix.</summary>
        /// <value><see cref="CurvatureMatrix.GaussNewton"/>.</value>
        public CurvatureMatrix Matrix
        {
            get;
            init => field = Check.Defined(value);
        } = CurvatureMatrix.GaussNewton;

        /// <summary>What is added to the eigenvalues that are kept.</summary>
        /// <value>0, as the method is published.</value>
        public Damping Damping { get; init; } = Damping.Absolute(0);

        /// <summary>The largest size of the Krylov space: as many passes over the training examples, and vectors in memory.</summary>
        /// <value>200.</value>
        public int Iterations
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 200;

        /// <summary>The number of eigenvalues that are kept, the largest in magnitude.</summary>
        /// <value>100.</value>
        public int TopK
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 100;

        /// <summary>Stops where what is new in a product is at most this times the largest eigenvalue: the Krylov space is
        /// complete.</summary>
        /// <value>1e-7.</value>
        public double Tolerance
        {
            get;
            init => field = Check.InsideUnit(value);
        } = 1e-7;

        /// <summary>The seed of the first vector.</summary>
        /// <value>0.</value>
        public long Seed { get; init; }
    }
}
