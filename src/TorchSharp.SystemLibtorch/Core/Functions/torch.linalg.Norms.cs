using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Norms of vectors and matrices.</summary>
    public static partial class linalg
    {
        private static readonly long[] _lastTwo = [-2, -1];

        public static Tensor norm(Tensor input, long[]? dims = null, bool keepdim = false) =>
            Aten.linalg_norm.Call(input, Argument.None, dims, keepdim);

        public static Tensor norm(Tensor input, double ord, long[]? dims = null, bool keepdim = false) =>
            Aten.linalg_norm.Call(input, ord, dims, keepdim);

        public static Tensor norm(Tensor input, int ord, long[]? dims = null, bool keepdim = false) =>
            Aten.linalg_norm.Call(input, ord, dims, keepdim);

        public static Tensor norm(Tensor input, string ord, long[]? dims = null, bool keepdim = false) =>
            Aten.linalg_norm_ord_str.Call(input, ord, dims, keepdim);

        public static Tensor vector_norm(
            Tensor input, double ord = 2, long[]? dims = null, bool keepdim = false) =>
            Aten.linalg_vector_norm.Call(input, ord, dims, keepdim);

        public static Tensor matrix_norm(Tensor input, string ord = "fro", long[]? dims = null, bool keepdim = false) =>
            Aten.linalg_matrix_norm_str_ord.Call(input, ord, dims ?? _lastTwo, keepdim);

        public static Tensor matrix_norm(Tensor input, double ord, long[]? dims = null, bool keepdim = false) =>
            Aten.linalg_matrix_norm.Call(input, ord, dims ?? _lastTwo, keepdim);
    }
}

internal static partial class Aten
{
    public static readonly Operator linalg_norm = new("aten::linalg_norm");
    public static readonly Operator linalg_norm_ord_str = new("aten::linalg_norm", "ord_str");
    public static readonly Operator linalg_vector_norm = new("aten::linalg_vector_norm");
    public static readonly Operator linalg_matrix_norm = new("aten::linalg_matrix_norm");
    public static readonly Operator linalg_matrix_norm_str_ord = new("aten::linalg_matrix_norm", "str_ord");
}
