using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>The same numbers in another shape: views where possible, copies where needed.</summary>
    public partial class Tensor
    {
        public Tensor view(params long[] shape) => Aten.view.Call(this, shape);

        public Tensor reshape(params long[] shape) => Aten.reshape.Call(this, shape);

        public Tensor flatten(long start_dim = 0, long end_dim = -1) =>
            Aten.flatten_using_ints.Call(this, start_dim, end_dim);

        public Tensor expand(params long[] sizes) => Aten.expand.Call(this, sizes);

        public Tensor expand(long[] sizes, bool isImplicit = false) => Aten.expand.Call(this, sizes, isImplicit);

        public Tensor expand(ReadOnlySpan<long> sizes, bool isImplicit = false) =>
            Aten.expand.Call(this, sizes, isImplicit);

        public Tensor permute(params long[] permutation) => Aten.permute.Call(this, permutation);

        public Tensor permute(IEnumerable<long> permutation) => permute([.. permutation]);

        public Tensor transpose(long dim0, long dim1) => Aten.transpose_int.Call(this, dim0, dim1);

        public Tensor t() => Aten.t.Call(this);

        public Tensor movedim(long[] source, long[] destination) =>
            Aten.movedim_intlist.Call(this, source, destination);

        public Tensor squeeze(long? dim = null) =>
            dim is long d ? Aten.squeeze_dim.Call(this, d) : Aten.squeeze.Call(this);

        public Tensor unsqueeze(long dim) => Aten.unsqueeze.Call(this, dim);

        public Tensor narrow(long dim, long start, long length) => Aten.narrow.Call(this, dim, start, length);

        public Tensor select(long dim, long index) => Aten.select_int.Call(this, dim, index);

        public Tensor unfold(long dimension, long size, long step) => Aten.unfold.Call(this, dimension, size, step);

        public Tensor as_strided(long[] size, long[] strides, long storageOffset = 0) =>
            Aten.as_strided.Call(this, size, strides, storageOffset);

        public Tensor contiguous() => Aten.contiguous.Call(this);

        public Tensor repeat(params long[] sizes) => Aten.repeat.Call(this, sizes);

        public Tensor flip(params long[] dims) => Aten.flip.Call(this, dims);

        public Tensor roll(long shifts, long? dims = null) =>
            dims is long d ? Aten.roll.Call(this, shifts, d) : Aten.roll.Call(this, shifts);

        // Along the first dimension, as in TorchSharp; PyTorch would roll the flattened tensor.
        public Tensor roll(long[] shifts) => Aten.roll.Call(this, shifts, 0);

        public Tensor roll(long[] shifts, long[] dims) => Aten.roll.Call(this, shifts, dims);

        public Tensor roll(ReadOnlySpan<long> shifts, ReadOnlySpan<long> dims = default) =>
            Aten.roll.Call(this, shifts, dims);

        public Tensor repeat_interleave(long repeats, long? dim = null, long? output_size = null) =>
            Aten.repeat_interleave_self_int.Call(this, repeats, dim, output_size);
    }
}

internal static partial class Aten
{
    public static readonly Operator as_strided = new("aten::as_strided");
    public static readonly Operator contiguous = new("aten::contiguous");
    public static readonly Operator expand = new("aten::expand");
    public static readonly Operator flatten_using_ints = new("aten::flatten", "using_ints");
    public static readonly Operator flip = new("aten::flip");
    public static readonly Operator movedim_intlist = new("aten::movedim", "intlist");
    public static readonly Operator narrow = new("aten::narrow");
    public static readonly Operator permute = new("aten::permute");
    public static readonly Operator repeat = new("aten::repeat");
    public static readonly Operator repeat_interleave_self_int = new("aten::repeat_interleave", "self_int");
    public static readonly Operator reshape = new("aten::reshape");
    public static readonly Operator roll = new("aten::roll");
    public static readonly Operator select_int = new("aten::select", "int");
    public static readonly Operator squeeze = new("aten::squeeze");
    public static readonly Operator squeeze_dim = new("aten::squeeze", "dim");
    public static readonly Operator t = new("aten::t");
    public static readonly Operator transpose_int = new("aten::transpose", "int");
    public static readonly Operator unfold = new("aten::unfold");
    public static readonly Operator unsqueeze = new("aten::unsqueeze");
    public static readonly Operator view = new("aten::view");
}
