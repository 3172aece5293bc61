using TorchSharp.Interop;

namespace TorchSharp;

/// <summary>Several tensors into one, and functions of several tensors.</summary>
public static partial class torch
{
    public static Tensor cat(IList<Tensor> tensors, long dim = 0) => tensors.Count switch
    {
        0 => throw new ArgumentException("cat needs at least one tensor", nameof(tensors)),
        1 => tensors[0].alias(),
        _ => Aten.cat.Call(tensors.ToArray(), dim),
    };

    public static Tensor cat(Tensor[] tensors, long dim = 0) => cat((IList<Tensor>)tensors, dim);

    public static Tensor cat(ReadOnlySpan<Tensor> tensors, long dim = 0) => cat((IList<Tensor>)tensors.ToArray(), dim);

    public static Tensor stack(IEnumerable<Tensor> tensors, long dim = 0) => Aten.stack.Call(tensors.ToArray(), dim);

    public static Tensor block_diag(params Tensor[] tensors) => Aten.block_diag.Call(tensors);


    public static Tensor einsum(string equation, params Tensor[] tensors) => Aten.einsum.Call(equation, tensors);

    public static Tensor where(Tensor condition, Tensor x, Tensor y) => x.where(condition, y);

    /// <summary>The places where the condition holds: one index tensor for each dimension.</summary>
    public static Tensor[] where(Tensor condition) => condition.dtype == ScalarType.Bool
        ? Aten.where.CallList(condition)
        : throw new ArgumentException("The condition to 'where' must be a boolean tensor.", nameof(condition));

    public static Tensor[] split(Tensor tensor, long[] split_size_or_sections, long dim = 0) =>
        tensor.split(split_size_or_sections, dim);

    public static Tensor movedim(Tensor input, long source, long destination) =>
        input.movedim([source], [destination]);

    public static Tensor movedim(Tensor input, long[] source, long[] destination) => input.movedim(source, destination);

    public static Tensor unflatten(Tensor input, long dim, params long[] sizes) => input.unflatten(dim, sizes);

    public static (Tensor output, Tensor? inverse_indices, Tensor? counts) unique(
        Tensor input, bool sorted = true, bool return_inverse = false, bool return_counts = false, int? dim = null) =>
        input.unique(sorted, return_inverse, return_counts, dim);
}

internal static partial class Aten
{
    public static readonly Operator cat = new("aten::cat");
    public static readonly Operator stack = new("aten::stack");
    public static readonly Operator block_diag = new("aten::block_diag");
    public static readonly Operator einsum = new("aten::einsum");
    public static readonly Operator where = new("aten::where");
}
