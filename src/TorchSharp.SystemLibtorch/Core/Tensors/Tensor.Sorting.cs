using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Order along a dimension, and running sums.</summary>
    public partial class Tensor
    {
        public (Tensor Values, Tensor Indices) sort(long dim = -1, bool descending = false, bool stable = false) =>
            Aten.sort_stable.Call2(this, stable, dim, descending);

        public Tensor argsort(long dim = -1, bool descending = false) => Aten.argsort.Call(this, dim, descending);

        public (Tensor values, Tensor indexes) topk(int k, int dim = -1, bool largest = true, bool sorted = true) =>
            Aten.topk.Call2(this, k, dim, largest, sorted);

        public (Tensor values, Tensor indices) mode(long dim = -1, bool keepdim = false) =>
            Aten.mode.Call2(this, dim, keepdim);

        public Tensor cumsum(long dim, ScalarType? type = null) => Aten.cumsum.Call(this, dim, type);
    }
}

internal static partial class Aten
{
    public static readonly Operator argsort = new("aten::argsort");
    public static readonly Operator cumsum = new("aten::cumsum");
    public static readonly Operator mode = new("aten::mode");
    public static readonly Operator sort_stable = new("aten::sort", "stable");
    public static readonly Operator topk = new("aten::topk");
}
