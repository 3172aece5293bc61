using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Sums, means, extremes and counts over some or all dimensions.</summary>
    public partial class Tensor
    {
        public Tensor sum(ScalarType? type = null) => Aten.sum.Call(this, type);

        public Tensor sum(long dim, bool keepdim = false, ScalarType? type = null) =>
            Aten.sum_dim_IntList.Call(this, dim, keepdim, type);

        public Tensor sum(long dim0, long dim1, bool keepdim = false, ScalarType? type = null) =>
            Aten.sum_dim_IntList.Call(this, new[] { dim0, dim1 }, keepdim, type);

        public Tensor sum(long dim0, long dim1, long dim2, bool keepdim = false, ScalarType? type = null) =>
            Aten.sum_dim_IntList.Call(this, new[] { dim0, dim1, dim2 }, keepdim, type);

        public Tensor sum(long[] dim, bool keepdim = false, ScalarType? type = null) =>
            Aten.sum_dim_IntList.Call(this, dim, keepdim, type);

        public Tensor sum(ReadOnlySpan<long> dim, bool keepdim = false, ScalarType? type = null) =>
            Aten.sum_dim_IntList.Call(this, dim, keepdim, type);

        public Tensor mean() => Aten.mean.Call(this);

        public Tensor mean(long[] dimensions, bool keepdim = false, ScalarType? type = null) =>
            Aten.mean_dim.Call(this, dimensions, keepdim, type);

        public Tensor max() => Aten.max.Call(this);

        public Tensor max(Tensor other) => Aten.max_other.Call(this, other);

        public (Tensor values, Tensor indexes) max(long dim, bool keepdim = false) =>
            Aten.max_dim.Call2(this, dim, keepdim);

        public Tensor min() => Aten.min.Call(this);

        public Tensor min(Tensor other) => Aten.min_other.Call(this, other);

        public (Tensor values, Tensor indexes) min(long dim, bool keepdim = false) =>
            Aten.min_dim.Call2(this, dim, keepdim);

        public Tensor amax(params long[] dims) => Aten.amax.Call(this, dims);

        public Tensor amax(long[] dims, bool keepdim = false, Tensor? @out = null) =>
            amax(dims.AsSpan(), keepdim, @out);

        public Tensor amax(ReadOnlySpan<long> dims, bool keepdim = false, Tensor? @out = null) =>
            @out is null ? Aten.amax.Call(this, dims, keepdim) : Aten.amax_out.Call(this, dims, keepdim, @out);

        public Tensor argmax() => Aten.argmax.Call(this);

        public Tensor argmax(long dim, bool keepdim = false) => Aten.argmax.Call(this, dim, keepdim);

        public Tensor all() => Aten.all.Call(this);

        public Tensor all(long dim, bool keepdim = false) => Aten.all_dim.Call(this, dim, keepdim);

        public Tensor any() => Aten.any.Call(this);

        public Tensor any(long dim, bool keepdim = false) => Aten.any_dim.Call(this, dim, keepdim);

        public Tensor median() => Aten.median.Call(this);

        public Tensor norm(float p = 2f) => Aten.norm_Scalar.Call(this, p);

        public Tensor norm(int dim, bool keepdim = false, float p = 2f) =>
            Aten.norm_ScalarOpt_dim.Call(this, (double)p, (long)dim, keepdim);

        public Tensor logsumexp(long dim, bool keepdim = false) => Aten.logsumexp.Call(this, dim, keepdim);

        public Tensor count_nonzero(long[]? dims = null) =>
            dims is null ? Aten.count_nonzero.Call(this) : Aten.count_nonzero_dim_IntList.Call(this, dims);
    }
}

internal static partial class Aten
{
    public static readonly Operator all = new("aten::all");
    public static readonly Operator all_dim = new("aten::all", "dim");
    public static readonly Operator amax = new("aten::amax");
    public static readonly Operator amax_out = new("aten::amax", "out");
    public static readonly Operator any = new("aten::any");
    public static readonly Operator any_dim = new("aten::any", "dim");
    public static readonly Operator argmax = new("aten::argmax");
    public static readonly Operator count_nonzero = new("aten::count_nonzero");
    public static readonly Operator count_nonzero_dim_IntList = new("aten::count_nonzero", "dim_IntList");
    public static readonly Operator logsumexp = new("aten::logsumexp");
    public static readonly Operator max = new("aten::max");
    public static readonly Operator max_dim = new("aten::max", "dim");
    public static readonly Operator max_other = new("aten::max", "other");
    public static readonly Operator mean = new("aten::mean");
    public static readonly Operator mean_dim = new("aten::mean", "dim");
    public static readonly Operator median = new("aten::median");
    public static readonly Operator min = new("aten::min");
    public static readonly Operator min_dim = new("aten::min", "dim");
    public static readonly Operator min_other = new("aten::min", "other");
    public static readonly Operator norm_Scalar = new("aten::norm", "Scalar");
    public static readonly Operator norm_ScalarOpt_dim = new("aten::norm", "ScalarOpt_dim");
    public static readonly Operator sum = new("aten::sum");
    public static readonly Operator sum_dim_IntList = new("aten::sum", "dim_IntList");
}
