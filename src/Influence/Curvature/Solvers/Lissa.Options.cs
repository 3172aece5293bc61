namespace Influence.Curvature;

public sealed partial class Lissa
{
    /// <summary>How <see cref="Lissa"/> iterates.</summary>
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

        /// <summary>The number of steps J, one batch each. About scale / damping times ln(1 / error) are needed.</summary>
        /// <value>1,000.</value>
        public int Depth
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 1_000;

        /// <summary>Runs over other batches whose results are averaged.</summary>
        /// <value>1.</value>
        public int Repeats
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 1;

        /// <summary>
        /// Examples per step, drawn anew in each pass; at least as many as there are means all, and no noise. A data loader gives its own
        /// batches in its own order.
        /// </summary>
        /// <value>128.</value>
        public int BatchSize
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 128;

        /// <summary>The number that the damped curvature is divided by, at least half of any batch's largest eigenvalue.</summary>
        /// <value>Null: the largest eigenvalue over all examples by power iteration, times 1.1, or times 2 where batches are parts.</value>
        public double? Scale
        {
            get;
            init => field = Check.Positive(value);
        }

        /// <summary>
        /// The relative residual |b - A x| / |b| above which the result is reported as short of its aim. With all examples in each step it
        /// also ends the run.
        /// </summary>
        /// <value>0.01.</value>
        public double Tolerance
        {
            get;
            init => field = Check.InsideUnit(value);
        } = 1e-2;

        /// <summary>The seed of the batches' order and of the estimates.</summary>
        /// <value>0.</value>
        public long Seed { get; init; }
    }
}
