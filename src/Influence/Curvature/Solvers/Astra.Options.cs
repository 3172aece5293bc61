namespace Influence.Curvature;

public sealed partial class Astra
{
    /// <summary>How <see cref="Astra"/> refines.</summary>
    public sealed record Options
    {
        /// <summary>The iteration.</summary>
        /// <value><see cref="Astra.Kind.Momentum"/>.</value>
        public Kind Iteration
        {
            get;
            init => field = Check.Defined(value);
        } = Kind.Momentum;

        /// <summary>The damping of the system where a call gives none; a relative one is relative to the mean eigenvalue that the inner fit
        /// has of each layer.</summary>
        /// <value><see cref="Damping.Default"/>.</value>
        public Damping Damping { get; init; } = Damping.Default;

        /// <summary>The damping of the approximate inverse.</summary>
        /// <value>Null: that of the call.</value>
        public Damping? InnerDamping { get; init; }

        /// <summary>Steps, or at most so many with conjugate gradients.</summary>
        /// <value>200.</value>
        public int Iterations
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 200;

        /// <summary>Examples per step of <see cref="Astra.Kind.Momentum"/>, drawn anew in each pass. A data loader gives its own batches in
        /// its own order.</summary>
        /// <value>256.</value>
        public int BatchSize
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 256;

        /// <summary>The first step size of <see cref="Astra.Kind.Momentum"/>.</summary>
        /// <value>Null: 1 over the largest eigenvalue of the preconditioned system on any of eight mini-batches, by power
        /// iteration.</value>
        public double? StepSize
        {
            get;
            init => field = Check.Positive(value);
        }

        /// <summary>The momentum.</summary>
        /// <value>0.9.</value>
        public double Momentum
        {
            get;
            init => field = Check.ShareBelowOne(value);
        } = 0.9;

        /// <summary>The step size is halved after every so many steps.</summary>
        /// <value>50.</value>
        public int HalveEvery
        {
            get;
            init => field = Check.AtLeastOne(value);
        } = 50;

        /// <summary>The relative residual |b - A x| / |b| where conjugate gradients stop, and above which a result is reported as short of
        /// its aim.</summary>
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

    /// <summary>How <see cref="Astra"/> walks from the approximate inverse to the exact one.</summary>
    public enum Kind
    {
        /// <summary>Stochastic gradient descent with momentum on mini-batches, as it is published.</summary>
        Momentum,

        /// <summary>Conjugate gradients with the approximate inverse as preconditioner, on all examples: fewer, dearer steps, and a
        /// tolerance that is reached.</summary>
        ConjugateGradient,
    }
}
