using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            private static readonly Operator OneHot = new("aten::one_hot");
            private static readonly Operator CosineSimilarity = new("aten::cosine_similarity");

            /// <summary>
            /// A one at each index, on a new last dimension; -1 classes means the largest index plus one.
            /// </summary>
            public static Tensor one_hot(Tensor x, long num_classes = -1)
                => x.dtype == ScalarType.Int64
                    ? OneHot.Call(x, num_classes)
                    : throw new ArgumentException($"One-hot coding takes Int64 indices, not {x.dtype}.", nameof(x));

            public static Tensor cosine_similarity(Tensor x1, Tensor x2, long dim = 1, double eps = 1e-8)
                => CosineSimilarity.Call(x1, x2, dim, eps);
        }
    }
}
