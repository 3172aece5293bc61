using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator CrossEntropy = new("aten::cross_entropy_loss");
            private static readonly Operator NllLoss = new("aten::nll_loss_nd");
            private static readonly Operator MseLoss = new("aten::mse_loss");
            private static readonly Operator L1Loss = new("aten::l1_loss");
            private static readonly Operator SmoothL1Loss = new("aten::smooth_l1_loss");
            private static readonly Operator HuberLoss = new("aten::huber_loss");
            private static readonly Operator BinaryCrossEntropy = new("aten::binary_cross_entropy");
            private static readonly Operator BinaryCrossEntropyWithLogits = new(
                "aten::binary_cross_entropy_with_logits");

            public static Tensor cross_entropy(
                Tensor input,
                Tensor target,
                Tensor? weight = null,
                long ignore_index = -100,
                Reduction reduction = Reduction.Mean,
                double label_smoothing = 0.0)
                => CrossEntropy.Call(input, target, weight, (long)reduction, ignore_index, label_smoothing);

            public static Tensor nll_loss(
                Tensor input,
                Tensor target,
                Tensor? weight = null,
                Reduction reduction = Reduction.Mean)
                => NllLoss.Call(input, target, weight, (long)reduction);

            public static Tensor mse_loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean)
                => MseLoss.Call(input, target, (long)reduction);

            public static Tensor l1_loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean)
                => L1Loss.Call(input, target, (long)reduction);

            public static Tensor smooth_l1_loss(
                Tensor input,
                Tensor target,
                Reduction reduction = Reduction.Mean,
                double beta = 1.0)
                => SmoothL1Loss.Call(input, target, (long)reduction, beta);

            public static Tensor huber_loss(
                Tensor input,
                Tensor target,
                double delta = 1.0,
                Reduction reduction = Reduction.Mean)
                => HuberLoss.Call(input, target, (long)reduction, delta);

            public static Tensor binary_cross_entropy(
                Tensor input,
                Tensor target,
                Tensor? weight = null,
                Reduction reduction = Reduction.Mean)
            {
                RequireSameShape(input, target);
                return BinaryCrossEntropy.Call(input, target, weight, (long)reduction);
            }

            public static Tensor binary_cross_entropy_with_logits(
                Tensor input,
                Tensor target,
                Tensor? weight = null,
                Reduction reduction = Reduction.Mean,
                Tensor? pos_weights = null)
            {
                RequireSameShape(input, target);
                return BinaryCrossEntropyWithLogits.Call(input, target, weight, pos_weights, (long)reduction);
            }

            /// <summary>
            /// libtorch would broadcast here, and quietly average over a matrix where a vector was meant.
            /// </summary>
            private static void RequireSameShape(Tensor input, Tensor target)
            {
                if (!input.shape.AsSpan().SequenceEqual(target.shape))
                {
                    throw new ArgumentException(
                        $"The target's shape [{string.Join(", ", target.shape)}] must be the input's, "
                        + $"[{string.Join(", ", input.shape)}].",
                        nameof(target));
                }
            }
        }
    }
}
