using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Products of vectors, matrices and batches of matrices, and what is made of matrices.</summary>
    public partial class Tensor
    {
        public Tensor mm(Tensor target) => Aten.mm.Call(this, target);

        public Tensor bmm(Tensor batch2) => Aten.bmm.Call(this, batch2);

        public Tensor matmul(Tensor target) => Aten.matmul.Call(this, target);

        public Tensor mv(Tensor target) => Aten.mv.Call(this, target);

        public Tensor dot(Tensor target) => Aten.dot.Call(this, SameVector(target));

        public Tensor inner(Tensor vec2) => Aten.inner.Call(this, vec2);

        public Tensor outer(Tensor vec2) => Aten.outer.Call(this, vec2);

        public Tensor kron(Tensor other) => Aten.kron.Call(this, other);

        public Tensor addmm(Tensor mat1, Tensor mat2, float beta = 1f, float alpha = 1f) =>
            Aten.addmm.Call(this, mat1, mat2, beta, alpha);

        public Tensor addmm_(Tensor mat1, Tensor mat2, float beta = 1f, float alpha = 1f) =>
            Aten.addmm_.CallInPlace(this, mat1, mat2, beta, alpha);

        public Tensor inverse() => Aten.inverse.Call(this);

        public Tensor trace() => Dimensions == 2
            ? Aten.trace.Call(this)
            : throw new ArgumentException($"Expected a matrix, but got tensor with ndim == {Dimensions}");


        public Tensor cholesky_solve(Tensor input2, bool upper = false) =>
            Aten.cholesky_solve.Call(this, input2, upper);

        public Tensor tril(long diagonal = 0) => Aten.tril.Call(this, diagonal);

        public Tensor triu(long diagonal = 0) => Aten.triu.Call(this, diagonal);

        public Tensor diag(long diagonal = 0) => Aten.diag.Call(this, diagonal);

        public Tensor diagonal(long offset = 0, long dim1 = 0, long dim2 = 1) =>
            Aten.diagonal.Call(this, offset, dim1, dim2);

        private Tensor SameVector(Tensor target) => Dimensions == 1 && target.Dimensions == 1 && numel() == target.numel()
            ? target
            : throw new InvalidOperationException("dot arguments must be vectors of the same length.");
    }
}

internal static partial class Aten
{
    public static readonly Operator addmm = new("aten::addmm");
    public static readonly Operator addmm_ = new("aten::addmm_");
    public static readonly Operator bmm = new("aten::bmm");
    public static readonly Operator cholesky_solve = new("aten::cholesky_solve");
    public static readonly Operator diag = new("aten::diag");
    public static readonly Operator diagonal = new("aten::diagonal");
    public static readonly Operator dot = new("aten::dot");
    public static readonly Operator inner = new("aten::inner");
    public static readonly Operator inverse = new("aten::inverse");
    public static readonly Operator kron = new("aten::kron");
    public static readonly Operator matmul = new("aten::matmul");
    public static readonly Operator mm = new("aten::mm");
    public static readonly Operator mv = new("aten::mv");
    public static readonly Operator outer = new("aten::outer");
    public static readonly Operator trace = new("aten::trace");
    public static readonly Operator tril = new("aten::tril");
    public static readonly Operator triu = new("aten::triu");
}
