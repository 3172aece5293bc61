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

        public Tensor vdot(Tensor target) => Aten.vdot.Call(this, SameVector(target));

        public Tensor inner(Tensor vec2) => Aten.inner.Call(this, vec2);

        public Tensor outer(Tensor vec2) => Aten.outer.Call(this, vec2);

        public Tensor ger(Tensor vec2) => Aten.outer.Call(this, vec2);

        public Tensor kron(Tensor other) => Aten.kron.Call(this, other);

        public Tensor addmm(Tensor mat1, Tensor mat2, float beta = 1f, float alpha = 1f) =>
            Aten.addmm.Call(this, mat1, mat2, beta, alpha);

        public Tensor addmm_(Tensor mat1, Tensor mat2, float beta = 1f, float alpha = 1f) =>
            Aten.addmm_.CallInPlace(this, mat1, mat2, beta, alpha);

        public Tensor addmv(Tensor mat, Tensor vec, float beta = 1f, float alpha = 1f) =>
            Aten.addmv.Call(this, mat, vec, beta, alpha);

        public Tensor addmv_(Tensor mat, Tensor vec, float beta = 1f, float alpha = 1f) =>
            Aten.addmv_.CallInPlace(this, mat, vec, beta, alpha);

        public Tensor addr(Tensor vec1, Tensor vec2, float beta = 1f, float alpha = 1f) =>
            Aten.addr.Call(this, vec1, vec2, beta, alpha);

        public Tensor addr_(Tensor vec1, Tensor vec2, float beta = 1f, float alpha = 1f) =>
            Aten.addr_.CallInPlace(this, vec1, vec2, beta, alpha);

        public Tensor addbmm(Tensor batch1, Tensor batch2, float beta = 1f, float alpha = 1f) =>
            Aten.addbmm.Call(this, batch1, batch2, beta, alpha);

        public Tensor addbmm_(Tensor batch1, Tensor batch2, float beta = 1f, float alpha = 1f) =>
            Aten.addbmm_.CallInPlace(this, batch1, batch2, beta, alpha);

        public Tensor det() => Aten.det.Call(this);

        public Tensor logdet() => Aten.logdet.Call(this);

        public Tensor inverse() => Aten.inverse.Call(this);

        public Tensor trace() => Dimensions == 2
            ? Aten.trace.Call(this)
            : throw new ArgumentException($"Expected a matrix, but got tensor with ndim == {Dimensions}");

        public Tensor matrix_exp() => Aten.matrix_exp.Call(this);

        public Tensor matrix_power(int n) => Aten.matrix_power.Call(this, n);

        public Tensor pinverse(double rcond = 1E-15, bool hermitian = false) =>
            Aten.linalg_pinv.Call(this, rcond, hermitian);

        public Tensor cholesky_inverse(bool upper = false) => Aten.cholesky_inverse.Call(this, upper);

        public Tensor cholesky_solve(Tensor input2, bool upper = false) =>
            Aten.cholesky_solve.Call(this, input2, upper);

        public Tensor cov(long correction = 1, Tensor? fweights = null, Tensor? aweights = null) =>
            Aten.cov.Call(this, correction, fweights, aweights);

        public Tensor corrcoef() => Aten.corrcoef.Call(this);

        public Tensor tensordot(Tensor b, long[] dims1, long[] dims2) => Aten.tensordot.Call(this, b, dims1, dims2);

        public Tensor renorm(float p, long dim, float maxnorm) => Aten.renorm.Call(this, p, dim, maxnorm);

        public Tensor tril(long diagonal = 0) => Aten.tril.Call(this, diagonal);

        public Tensor tril_(long diagonal = 0) => Aten.tril_.CallInPlace(this, diagonal);

        public Tensor triu(long diagonal = 0) => Aten.triu.Call(this, diagonal);

        public Tensor triu_(long diagonal = 0) => Aten.triu_.CallInPlace(this, diagonal);

        public Tensor diag(long diagonal = 0) => Aten.diag.Call(this, diagonal);

        public Tensor diag_embed(long offset = 0, long dim1 = -2, long dim2 = -1) =>
            Aten.diag_embed.Call(this, offset, dim1, dim2);

        public Tensor diagflat(long offset = 0) => Aten.diagflat.Call(this, offset);

        public Tensor diagonal(long offset = 0, long dim1 = 0, long dim2 = 1) =>
            Aten.diagonal.Call(this, offset, dim1, dim2);

        public Tensor diagonal_scatter(Tensor src, long offset = 0, long dim1 = 0, long dim2 = 1) =>
            Aten.diagonal_scatter.Call(this, src, offset, dim1, dim2);

        private Tensor SameVector(Tensor target) => Dimensions == 1 && target.Dimensions == 1 && numel() == target.numel()
            ? target
            : throw new InvalidOperationException("dot arguments must be vectors of the same length.");
    }
}

internal static partial class Aten
{
    public static readonly Operator addbmm = new("aten::addbmm");
    public static readonly Operator addbmm_ = new("aten::addbmm_");
    public static readonly Operator addmm = new("aten::addmm");
    public static readonly Operator addmm_ = new("aten::addmm_");
    public static readonly Operator addmv = new("aten::addmv");
    public static readonly Operator addmv_ = new("aten::addmv_");
    public static readonly Operator addr = new("aten::addr");
    public static readonly Operator addr_ = new("aten::addr_");
    public static readonly Operator bmm = new("aten::bmm");
    public static readonly Operator cholesky_inverse = new("aten::cholesky_inverse");
    public static readonly Operator cholesky_solve = new("aten::cholesky_solve");
    public static readonly Operator corrcoef = new("aten::corrcoef");
    public static readonly Operator cov = new("aten::cov");
    public static readonly Operator det = new("aten::det");
    public static readonly Operator diag = new("aten::diag");
    public static readonly Operator diag_embed = new("aten::diag_embed");
    public static readonly Operator diagflat = new("aten::diagflat");
    public static readonly Operator diagonal = new("aten::diagonal");
    public static readonly Operator diagonal_scatter = new("aten::diagonal_scatter");
    public static readonly Operator dot = new("aten::dot");
    public static readonly Operator inner = new("aten::inner");
    public static readonly Operator inverse = new("aten::inverse");
    public static readonly Operator kron = new("aten::kron");
    public static readonly Operator linalg_pinv = new("aten::linalg_pinv");
    public static readonly Operator logdet = new("aten::logdet");
    public static readonly Operator matmul = new("aten::matmul");
    public static readonly Operator matrix_exp = new("aten::matrix_exp");
    public static readonly Operator matrix_power = new("aten::matrix_power");
    public static readonly Operator mm = new("aten::mm");
    public static readonly Operator mv = new("aten::mv");
    public static readonly Operator outer = new("aten::outer");
    public static readonly Operator renorm = new("aten::renorm");
    public static readonly Operator tensordot = new("aten::tensordot");
    public static readonly Operator trace = new("aten::trace");
    public static readonly Operator tril = new("aten::tril");
    public static readonly Operator tril_ = new("aten::tril_");
    public static readonly Operator triu = new("aten::triu");
    public static readonly Operator triu_ = new("aten::triu_");
    public static readonly Operator vdot = new("aten::vdot");
}
