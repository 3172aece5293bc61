namespace Influence.Curvature;

public sealed partial class DenseCurvature
{
    /// <summary>How <see cref="DenseCurvature"/> is fitted.</summary>
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

        /// <summary>
        /// The largest number of parameters P that is accepted. The fit costs P products with the curvature, 10 P^3 operations and
        /// 40 P^2 bytes: 1 GB at 5,000.
        /// </summary>
        /// <value>5,000.</value>
        public long MaximumParameters
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 5_000;
    }
}
