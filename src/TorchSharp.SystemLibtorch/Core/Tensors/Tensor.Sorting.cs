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

        public Tensor msort() => Aten.msort.Call(this);

        public (Tensor values, Tensor indexes) topk(int k, int dim = -1, bool largest = true, bool sorted = true) =>
            Aten.topk.Call2(this, k, dim, largest, sorted);

        public (Tensor values, Tensor indices) kthvalue(long k, long? dim, bool keepdim = false) =>
            Aten.kthvalue.Call2(this, k, dim ?? -1, keepdim);

        public (Tensor values, Tensor indices) mode(long dim = -1, bool keepdim = false) =>
            Aten.mode.Call2(this, dim, keepdim);

        public Tensor cumsum(long dim, ScalarType? type = null) => Aten.cumsum.Call(this, dim, type);

        public Tensor cumprod(long dim, ScalarType? type = null) => Aten.cumprod.Call(this, dim, type);

        public (Tensor values, Tensor indexes) cummax(long dim) => Aten.cummax.Call2(this, dim);

        public (Tensor values, Tensor indexes) cummin(long dim) => Aten.cummin.Call2(this, dim);

        public Tensor logcumsumexp(long dim) => Aten.logcumsumexp.Call(this, dim);

        public Tensor diff(long n = 1, long dim = -1, Tensor? prepend = null, Tensor? append = null) =>
            Aten.diff.Call(this, n, dim, prepend, append);

        public Tensor bucketize(Tensor boundaries, bool outInt32 = false, bool right = false) =>
            Aten.bucketize_Tensor.Call(this, boundaries, outInt32, right);
    }
}

internal static partial class Aten
{
    public static readonly Operator argsort = new("aten::argsort");
    public static readonly Operator bucketize_Tensor = new("aten::bucketize", "Tensor");
    public static readonly Operator cummax = new("aten::cummax");
    public static readonly Operator cummin = new("aten::cummin");
    public static readonly Operator cumprod = new("aten::cumprod");
    public static readonly Operator cumsum = new("aten::cumsum");
    public static readonly Operator diff = new("aten::diff");
    public static readonly Operator kthvalue = new("aten::kthvalue");
    public static readonly Operator logcumsumexp = new("aten::logcumsumexp");
    public static readonly Operator mode = new("aten::mode");
    public static readonly Operator msort = new("aten::msort");
    public static readonly Operator sort_stable = new("aten::sort", "stable");
    public static readonly Operator topk = new("aten::topk");
}
