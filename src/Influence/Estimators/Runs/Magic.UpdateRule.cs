namespace Influence.Estimators;

public sealed partial record Magic
{
    /// <summary>What stands for the Hessian of a step's loss.</summary>
    public enum Approximation
    {
        /// <summary>The Hessian itself: scores are derivatives of the run.</summary>
        Exact,

        /// <summary>
        /// The sum over the batch of each example's gradient times itself, c h h' with h the example's share of the step's gradient, c = B
        /// where the loss is a mean and 1 where it is a sum: "AdamW-influence", and with plain <see cref="Sgd"/> "data value embeddings"
        /// (DVEmb). It is never negative, and costs less where there are many queries. Scores are then near the derivatives of the run, not
        /// equal to them; those of the last step are equal. References: Deng et al., "How Faithful Is Trajectory-Based Data Attribution?",
        /// 2026; DVEmb: arXiv 2412.09538, 2024.
        /// </summary>
        EmpiricalFisher,
    }

    /// <summary>The arithmetic of one step of training.</summary>
    public abstract record UpdateRule
    {
        private protected UpdateRule() { }
    }

    /// <summary>Gradient descent as TorchSharp's <c>optim.SGD</c> does it, without dampening: <c>m = momentum m + g + decay w; w = w - rate
    /// m</c>.</summary>
    public sealed record Sgd : UpdateRule
    {
        /// <summary>At least 0 and below 1.</summary>
        /// <value>0.</value>
        public double Momentum
        {
            get;
            init => field = Check.ShareBelowOne(value);
        }

        /// <summary>Coupled weight decay (L2), added to the gradient.</summary>
        /// <value>0.</value>
        public double WeightDecay
        {
            get;
            init => field = Check.NotNegative(value);
        }
    }

    /// <summary>AdamW as TorchSharp's <c>optim.AdamW</c> does it: bias corrected moments, weight decay apart from the gradient.</summary>
    public sealed record AdamW : UpdateRule
    {
        /// <summary>Decay of the first moment.</summary>
        /// <value>0.9.</value>
        public double Beta1
        {
            get;
            init => field = Check.ShareBelowOne(value);
        } = 0.9;

        /// <summary>Decay of the second moment.</summary>
        /// <value>0.999.</value>
        public double Beta2
        {
            get;
            init => field = Check.ShareBelowOne(value);
        } = 0.999;

        /// <summary>Added to the root of the second moment.</summary>
        /// <value>1e-8.</value>
        public double Epsilon
        {
            get;
            init => field = Check.Positive(value);
        } = 1e-8;

        /// <summary>Decoupled weight decay.</summary>
        /// <value>0.01.</value>
        public double WeightDecay
        {
            get;
            init => field = Check.NotNegative(value);
        } = 0.01;
    }
}
