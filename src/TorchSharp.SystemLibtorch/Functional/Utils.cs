using TorchSharp.Interop;
using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>Operations on many parameters at once.</summary>
        public static partial class utils
        {
            private static readonly Operator SetData = new("aten::set_data");

            /// <summary>Scales all gradients so that their joint norm is at most <paramref name="max_norm"/>.</summary>
            /// <returns>The joint norm before scaling.</returns>
            public static double clip_grad_norm_(
                IEnumerable<Parameter> tensors,
                double max_norm,
                double norm_type = 2.0)
            {
                using var noGrad = no_grad();
                using var scope = NewDisposeScope();
                var gradients = Gradients(tensors);
                if (gradients.Count == 0)
                {
                    return 0;
                }

                var norms = stack(gradients.ConvertAll(gradient => linalg.vector_norm(gradient, norm_type)));
                var total = linalg.vector_norm(norms, norm_type).to(ScalarType.Float64).item<double>();
                var coefficient = max_norm / (total + 1e-6);
                if (coefficient < 1)
                {
                    gradients.ForEach(gradient => gradient.mul_(coefficient));
                }

                return total;
            }

            /// <summary>Clamps every element of every gradient to +-<paramref name="clip_value"/>.</summary>
            public static void clip_grad_value_(IEnumerable<Parameter> tensors, double clip_value)
            {
                using var noGrad = no_grad();
                using var scope = NewDisposeScope();
                Gradients(tensors).ForEach(gradient => gradient.clamp_(-clip_value, clip_value));
            }

            /// <summary>All parameters, flattened and one after the other. Gradients flow through it.</summary>
            public static Tensor parameters_to_vector(IEnumerable<Parameter> tensors)
            {
                using var scope = NewDisposeScope();
                return cat(tensors.Select(parameter => parameter.reshape(-1)).ToArray(), 0).MoveToOuterDisposeScope();
            }

            /// <summary>Makes each parameter a view of its piece of the vector.</summary>
            public static void vector_to_parameters(Tensor vec, IEnumerable<Parameter> tensors)
            {
                using var noGrad = no_grad();
                using var scope = NewDisposeScope();
                long start = 0;
                foreach (var parameter in tensors)
                {
                    var length = parameter.numel();
                    SetData.CallInPlace(parameter, vec.narrow(0, start, length).view(parameter.shape));
                    start += length;
                }
            }

            private static List<Tensor> Gradients(IEnumerable<Parameter> parameters)
                => parameters.Select(parameter => parameter.grad).OfType<Tensor>().ToList();
        }
    }
}
