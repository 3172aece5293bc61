using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class init
        {
            private static readonly Operator InverseErrorFunction = new("aten::erfinv_");
            private static readonly Operator Erf = new("aten::erf");
            private static readonly Operator Qr = new("aten::linalg_qr");

            /// <summary>Ones on the diagonal of a matrix, zeros elsewhere.</summary>
            public static Tensor eye_(Tensor tensor)
            {
                using var noGrad = no_grad();
                using var scope = NewDisposeScope();
                zeros_(tensor);
                Fill.CallInPlace(tensor.diagonal(), 1);
                return tensor;
            }

            /// <summary>
            /// A normal distribution cut off at <paramref name="a"/> and <paramref name="b"/>, by inversion.
            /// </summary>
            public static Tensor trunc_normal_(
                Tensor tensor,
                double mean = 0.0,
                double std = 1.0,
                double a = -2.0,
                double b = 2.0,
                Generator? generator = null)
            {
                using var noGrad = no_grad();

                // Uniform between the error function's values at both ends, then back through its inverse.
                var scale = std * Math.Sqrt(2);
                uniform_(tensor, ErrorFunction((a - mean) / scale), ErrorFunction((b - mean) / scale), generator);
                InverseErrorFunction.CallInPlace(tensor);
                return tensor.mul_(scale).add_(mean).clamp_(a, b);
            }

            /// <summary>
            /// A random matrix with orthonormal rows or columns, whichever are fewer, times the gain.
            /// </summary>
            public static Tensor orthogonal_(Tensor tensor, double gain = 1.0)
            {
                var shape = tensor.shape;
                if (shape.Length < 2)
                {
                    throw new ArgumentException(
                        "An orthogonal initialisation needs at least two dimensions.", nameof(tensor));
                }

                using var noGrad = no_grad();
                using var scope = NewDisposeScope();
                var rows = shape[0];
                var columns = tensor.numel() / rows;
                var random = randn(rows, columns, dtype: tensor.dtype, device: tensor.device);
                var (q, r) = Qr.Call2(rows < columns ? random.t() : random);

                // The signs of R's diagonal make the decomposition unique, and so Q uniformly distributed.
                q = q.mul(r.diagonal().sign());
                tensor.copy_((rows < columns ? q.t() : q).reshape(shape));
                return tensor.mul_(gain);
            }

            private static double ErrorFunction(double x)
            {
                using var scope = NewDisposeScope();
                return Erf.Call(torch.tensor(x, dtype: ScalarType.Float64)).item<double>();
            }
        }
    }
}
