namespace Influence.Estimators;

public sealed partial record Magic
{
    /// <summary>The arithmetic of one step of training.</summary>
    public abstract record UpdateRule
    {
        private protected UpdateRule()
        {
        }
    }

    /// <summary>Gradient descent as TorchSharp's <c>optim.SGD</c> does it, without dampening: <c>m = momentum m + g + decay w; w = w - rate m</c>.</summary>
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
