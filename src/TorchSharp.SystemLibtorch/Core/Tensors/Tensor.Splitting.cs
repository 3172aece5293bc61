using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>One tensor into several.</summary>
    public partial class Tensor
    {
        public Tensor[] chunk(long chunks, long dim = 0) => Aten.chunk.CallList(this, chunks, dim);

        public Tensor[] split(long size, int dim = 0) => Aten.split_Tensor.CallList(this, size, dim);

        public Tensor[] split(params long[] sizes) => Aten.split_with_sizes.CallList(this, sizes);

        public Tensor[] split(long[] sizes, long dim = 0) => Aten.split_with_sizes.CallList(this, sizes, dim);

        public Tensor[] split(ReadOnlySpan<long> sizes, long dim = 0) =>
            Aten.split_with_sizes.CallList(this, sizes, dim);

        public Tensor[] tensor_split(long size, long dim = 0) => Aten.tensor_split_sections.CallList(this, size, dim);

        public Tensor[] tensor_split(long[] sizes, long dim = 0) =>
            Aten.tensor_split_indices.CallList(this, sizes, dim);

        public Tensor[] tensor_split(Tensor indices, long dim = 0) =>
            Aten.tensor_split_tensor_indices_or_sections.CallList(this, indices, dim);

        public Tensor[] unbind(long dimension = 0) => Aten.unbind_int.CallList(this, dimension);

        public Tensor[] hsplit(long size) => Aten.hsplit_int.CallList(this, size);

        public Tensor[] vsplit(long size) => Aten.vsplit_int.CallList(this, size);
    }
}

internal static partial class Aten
{
    public static readonly Operator chunk = new("aten::chunk");
    public static readonly Operator hsplit_int = new("aten::hsplit", "int");
    public static readonly Operator split_Tensor = new("aten::split", "Tensor");
    public static readonly Operator split_with_sizes = new("aten::split_with_sizes");
    public static readonly Operator tensor_split_indices = new("aten::tensor_split", "indices");
    public static readonly Operator tensor_split_sections = new("aten::tensor_split", "sections");
    public static readonly Operator tensor_split_tensor_indices_or_sections = new("aten::tensor_split", "tensor_indices_or_sections");
    public static readonly Operator unbind_int = new("aten::unbind", "int");
    public static readonly Operator vsplit_int = new("aten::vsplit", "int");
}
