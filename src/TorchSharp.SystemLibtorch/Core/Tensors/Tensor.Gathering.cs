using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Elements chosen, and written, by index tensors and masks.</summary>
    public partial class Tensor
    {
        public Tensor gather(long dim, Tensor index) => Aten.gather.Call(this, dim, index);

        public Tensor scatter(long dim, Tensor index, Tensor src) => Aten.scatter_src.Call(this, dim, index, src);

        public Tensor scatter_(long dim, Tensor index, Tensor src) =>
            Aten.scatter__src.CallInPlace(this, dim, index, src);

        public Tensor scatter_add(long dim, Tensor index, Tensor src) => Aten.scatter_add.Call(this, dim, index, src);

        public Tensor scatter_add_(long dim, Tensor index, Tensor src) =>
            Aten.scatter_add_.CallInPlace(this, dim, index, src);

        public Tensor index_select(long dim, Tensor index) => Aten.index_select.Call(this, dim, index);

        public Tensor index_add(long dim, Tensor index, Tensor source, Scalar alpha) =>
            Aten.index_add.Call(this, dim, index, source, alpha);

        public Tensor index_add_(long dim, Tensor index, Tensor source, Scalar alpha) =>
            Aten.index_add_.CallInPlace(this, dim, index, source, alpha);

        public Tensor index_copy(long dim, Tensor index, Tensor source) =>
            Aten.index_copy.Call(this, dim, index, source);

        public Tensor index_copy_(long dim, Tensor index, Tensor source) =>
            Aten.index_copy_.CallInPlace(this, dim, index, source);

        public Tensor index_fill(long dim, Tensor index, Scalar value) =>
            Aten.index_fill_int_Scalar.Call(this, dim, index, value);

        public Tensor index_fill_(long dim, Tensor index, Scalar value) =>
            Aten.index_fill__int_Scalar.CallInPlace(this, dim, index, value);

        public Tensor select_scatter(Tensor src, long dim, long index) =>
            Aten.select_scatter.Call(this, src, dim, index);

        public Tensor slice_scatter(Tensor src, long dim = 0, long? start = null, long? end = null, long step = 1) =>
            Aten.slice_scatter.Call(this, src, dim, start, end, step);

        public Tensor take(Tensor index) => Aten.take.Call(this, index);

        public Tensor take_along_dim(Tensor indices) => Aten.take_along_dim.Call(this, indices);

        public Tensor take_along_dim(Tensor indices, long dim) => Aten.take_along_dim.Call(this, indices, dim);

        public Tensor masked_fill(Tensor mask, Scalar value) => Aten.masked_fill_Scalar.Call(this, mask, value);

        public Tensor masked_fill_(Tensor mask, Scalar value) =>
            Aten.masked_fill__Scalar.CallInPlace(this, mask, value);

        public Tensor masked_scatter(Tensor mask, Tensor value) => Aten.masked_scatter.Call(this, mask, value);

        public Tensor masked_scatter_(Tensor mask, Tensor value) =>
            Aten.masked_scatter_.CallInPlace(this, mask, value);

        public Tensor masked_select(Tensor mask) => Aten.masked_select.Call(this, mask);

        public Tensor nonzero() => Aten.nonzero.Call(this);

        public Tensor argwhere() => Aten.argwhere.Call(this);

        public Tensor where(Tensor condition, Tensor y) => Aten.where_self.Call(condition, this, y);
    }
}

internal static partial class Aten
{
    public static readonly Operator argwhere = new("aten::argwhere");
    public static readonly Operator gather = new("aten::gather");
    public static readonly Operator index_add = new("aten::index_add");
    public static readonly Operator index_add_ = new("aten::index_add_");
    public static readonly Operator index_copy = new("aten::index_copy");
    public static readonly Operator index_copy_ = new("aten::index_copy_");
    public static readonly Operator index_fill__int_Scalar = new("aten::index_fill_", "int_Scalar");
    public static readonly Operator index_fill_int_Scalar = new("aten::index_fill", "int_Scalar");
    public static readonly Operator index_select = new("aten::index_select");
    public static readonly Operator masked_fill_Scalar = new("aten::masked_fill", "Scalar");
    public static readonly Operator masked_fill__Scalar = new("aten::masked_fill_", "Scalar");
    public static readonly Operator masked_scatter = new("aten::masked_scatter");
    public static readonly Operator masked_scatter_ = new("aten::masked_scatter_");
    public static readonly Operator masked_select = new("aten::masked_select");
    public static readonly Operator nonzero = new("aten::nonzero");
    public static readonly Operator scatter__src = new("aten::scatter_", "src");
    public static readonly Operator scatter_add = new("aten::scatter_add");
    public static readonly Operator scatter_add_ = new("aten::scatter_add_");
    public static readonly Operator scatter_src = new("aten::scatter", "src");
    public static readonly Operator select_scatter = new("aten::select_scatter");
    public static readonly Operator slice_scatter = new("aten::slice_scatter");
    public static readonly Operator take = new("aten::take");
    public static readonly Operator take_along_dim = new("aten::take_along_dim");
    public static readonly Operator where_self = new("aten::where", "self");
}
