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
    }
}

internal static partial class Aten
{
    public static readonly Operator chunk = new("aten::chunk");
    public static readonly Operator split_Tensor = new("aten::split", "Tensor");
    public static readonly Operator split_with_sizes = new("aten::split_with_sizes");
}
