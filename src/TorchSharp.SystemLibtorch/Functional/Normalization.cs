using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator LayerNorm = new("aten::layer_norm");
            private static readonly Operator GroupNorm = new("aten::group_norm");
            private static readonly Operator BatchNorm = new("aten::batch_norm");
            private static readonly Operator NormOverDimension = new("aten::norm", "ScalarOpt_dim");

            public static Tensor layer_norm(
                Tensor input,
                long[] normalized_shape,
                Tensor? weight = null,
                Tensor? bias = null,
                double eps = 1e-5)
                => LayerNorm.Call(input, normalized_shape, weight, bias, eps);

            public static Tensor group_norm(
                Tensor input,
                long num_groups,
                Tensor? weight = null,
                Tensor? bias = null,
                double eps = 1e-5)
                => GroupNorm.Call(input, num_groups, weight, bias, eps);

            /// <summary>Normalises each channel by its batch statistics (training) or the running ones.</summary>
            /// <exception cref="ArgumentException">Training on one value per channel: its variance is zero.</exception>
            public static Tensor batch_norm(
                Tensor input,
                Tensor? running_mean,
                Tensor? running_var,
                Tensor? weight = null,
                Tensor? bias = null,
                bool training = false,
                double momentum = 0.1,
                double eps = 1e-5)
            {
                if (training && input.numel() == input.shape[1])
                {
                    throw new ArgumentException(
                        "Batch normalisation needs more than one value per channel to train, "
                        + $"but got [{string.Join(", ", input.shape)}].",
                        nameof(input));
                }

                return BatchNorm.Call(input, weight, bias, running_mean, running_var, training, momentum, eps, true);
            }

            /// <summary>
            /// Divides by the p-norm along <paramref name="dim"/>, or by <paramref name="eps"/> if that is larger.
            /// </summary>
            public static Tensor normalize(Tensor input, double p = 2.0, long dim = 1L, double eps = 1e-12)
            {
                using var scope = NewDisposeScope();
                var norm = NormOverDimension.Call(input, p, dim, true).clamp_min(eps);
                return input.div(norm).MoveToOuterDisposeScope();
            }
        }
    }
}
