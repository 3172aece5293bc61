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

        public Tensor index_select(long dim, Tensor index) => Aten.index_select.Call(this, dim, index);

        public Tensor index_add(long dim, Tensor index, Tensor source, Scalar alpha) =>
            Aten.index_add.Call(this, dim, index, source, alpha);

        public Tensor index_add_(long dim, Tensor index, Tensor source, Scalar alpha) =>
            Aten.index_add_.CallInPlace(this, dim, index, source, alpha);

        public Tensor index_copy_(long dim, Tensor index, Tensor source) =>
            Aten.index_copy_.CallInPlace(this, dim, index, source);

        public Tensor masked_fill(Tensor mask, Scalar value) => Aten.masked_fill_Scalar.Call(this, mask, value);

        public Tensor masked_fill_(Tensor mask, Scalar value) =>
            Aten.masked_fill__Scalar.CallInPlace(this, mask, value);

        public Tensor masked_select(Tensor mask) => Aten.masked_select.Call(this, mask);

        public Tensor nonzero() => Aten.nonzero.Call(this);

        public Tensor where(Tensor condition, Tensor y) => Aten.where_self.Call(condition, this, y);
    }
}

internal static partial class Aten
{
    public static readonly Operator gather = new("aten::gather");
    public static readonly Operator index_add = new("aten::index_add");
    public static readonly Operator index_add_ = new("aten::index_add_");
    public static readonly Operator index_copy_ = new("aten::index_copy_");
    public static readonly Operator index_select = new("aten::index_select");
    public static readonly Operator masked_fill_Scalar = new("aten::masked_fill", "Scalar");
    public static readonly Operator masked_fill__Scalar = new("aten::masked_fill_", "Scalar");
    public static readonly Operator masked_select = new("aten::masked_select");
    public static readonly Operator nonzero = new("aten::nonzero");
    public static readonly Operator scatter__src = new("aten::scatter_", "src");
    public static readonly Operator scatter_src = new("aten::scatter", "src");
    public static readonly Operator where_self = new("aten::where", "self");
}
