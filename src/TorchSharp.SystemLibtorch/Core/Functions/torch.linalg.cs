using TorchSharp.Interop;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Linear algebra: factorisations, solvers and norms of batches of matrices.</summary>
    public static partial class linalg
    {
        /// <summary>Which of Q and R a QR factorisation gives, and how large.</summary>
        public enum QRMode
        {
            Reduced = 0,
            Complete = 1,
            R = 2,
        }

        public static Tensor cholesky(Tensor input) => Aten.linalg_cholesky.Call(input);

        /// <summary>Eigenvalues in ascending order, and eigenvectors as columns, of symmetric matrices.</summary>
        public static (Tensor, Tensor) eigh(Tensor input, char UPLO = 'L') =>
            Aten.linalg_eigh.Call2(input, UPLO.ToString());

        public static Tensor eigvalsh(Tensor input, char UPLO = 'L') =>
            Aten.linalg_eigvalsh.Call(input, UPLO.ToString());

        public static (Tensor, Tensor) eig(Tensor input) => Aten.linalg_eig.Call2(input);

        public static (Tensor U, Tensor S, Tensor Vh) svd(Tensor input, bool fullMatrices = true) =>
            Aten.linalg_svd.Call3(input, fullMatrices);

        public static Tensor svdvals(Tensor input) => Aten.linalg_svdvals.Call(input);

        public static (Tensor Q, Tensor R) qr(Tensor input, QRMode mode = QRMode.Reduced) =>
            Aten.linalg_qr.Call2(input, mode switch
            {
                QRMode.Complete => "complete",
                QRMode.R => "r",
                _ => "reduced",
            });

        public static (Tensor P, Tensor L, Tensor U) lu(Tensor input, bool pivot = true) =>
            Aten.linalg_lu.Call3(input, pivot);

        public static (Tensor LU, Tensor Pivots) lu_factor(Tensor input, bool pivot = true) =>
            Aten.linalg_lu_factor.Call2(input, pivot);

        public static Tensor lu_solve(
            Tensor LU, Tensor pivots, Tensor B, bool left = true, bool adjoint = false, Tensor? @out = null) =>
            @out is null
                ? Aten.linalg_lu_solve.Call(LU, pivots, B, left, adjoint)
                : Aten.linalg_lu_solve_out.Call(LU, pivots, B, left, adjoint, @out);

        public static Tensor solve(Tensor A, Tensor B, bool left = true) => Aten.linalg_solve.Call(A, B, left);

        public static (Tensor result, Tensor info) solve_ex(
            Tensor A, Tensor B, bool left = true, bool check_errors = false) =>
            Aten.linalg_solve_ex.Call2(A, B, left, check_errors);

        public static Tensor solve_triangular(
            Tensor A, Tensor B, bool upper, bool left = true, bool unitriangular = false, Tensor? @out = null) =>
            @out is null
                ? Aten.linalg_solve_triangular.Call(A, B, upper, left, unitriangular)
                : Aten.linalg_solve_triangular_out.Call(A, B, upper, left, unitriangular, @out);

        public static (Tensor Solution, Tensor Residuals, Tensor Rank, Tensor SingularValues) lstsq(
            Tensor input, Tensor other) =>
            Aten.linalg_lstsq.Call4(input, other);

        public static Tensor inv(Tensor input) => Aten.linalg_inv.Call(input);

        public static Tensor pinv(
            Tensor input, double? atol = null, double? rtol = null, bool hermitian = false) =>
            Aten.linalg_pinv_atol_rtol_float.Call(input, atol, rtol, hermitian);

        public static Tensor det(Tensor input) => Aten.linalg_det.Call(input);

        public static (Tensor, Tensor) slogdet(Tensor input) => Aten.linalg_slogdet.Call2(input);

        public static Tensor matrix_exp(Tensor input) => Aten.linalg_matrix_exp.Call(input);

        public static Tensor matrix_rank(
            Tensor input, double? atol = null, double? rtol = null, bool hermitian = false) =>
            Aten.linalg_matrix_rank_atol_rtol_float.Call(input, atol, rtol, hermitian);

        public static Tensor multi_dot(IList<Tensor> tensors) => Aten.linalg_multi_dot.Call(tensors.ToArray());

        public static Tensor vecdot(Tensor x, Tensor y, long dim = -1, Tensor? @out = null) => @out is null
            ? Aten.linalg_vecdot.Call(x, y, dim)
            : Aten.linalg_vecdot_out.Call(x, y, dim, @out);

        public static Tensor diagonal(Tensor input, int offset = 0, int dim1 = -2, int dim2 = -1) =>
            input.diagonal(offset, dim1, dim2);
    }
}

internal static partial class Aten
{
    public static readonly Operator linalg_cholesky = new("aten::linalg_cholesky");
    public static readonly Operator linalg_eigh = new("aten::linalg_eigh");
    public static readonly Operator linalg_eigvalsh = new("aten::linalg_eigvalsh");
    public static readonly Operator linalg_eig = new("aten::linalg_eig");
    public static readonly Operator linalg_svd = new("aten::linalg_svd");
    public static readonly Operator linalg_svdvals = new("aten::linalg_svdvals");
    public static readonly Operator linalg_qr = new("aten::linalg_qr");
    public static readonly Operator linalg_lu = new("aten::linalg_lu");
    public static readonly Operator linalg_lu_factor = new("aten::linalg_lu_factor");
    public static readonly Operator linalg_lu_solve = new("aten::linalg_lu_solve");
    public static readonly Operator linalg_lu_solve_out = new("aten::linalg_lu_solve", "out");
    public static readonly Operator linalg_solve = new("aten::linalg_solve");
    public static readonly Operator linalg_solve_ex = new("aten::linalg_solve_ex");
    public static readonly Operator linalg_solve_triangular = new("aten::linalg_solve_triangular");
    public static readonly Operator linalg_solve_triangular_out = new("aten::linalg_solve_triangular", "out");
    public static readonly Operator linalg_lstsq = new("aten::linalg_lstsq");
    public static readonly Operator linalg_inv = new("aten::linalg_inv");
    public static readonly Operator linalg_pinv_atol_rtol_float = new("aten::linalg_pinv", "atol_rtol_float");
    public static readonly Operator linalg_det = new("aten::linalg_det");
    public static readonly Operator linalg_slogdet = new("aten::linalg_slogdet");
    public static readonly Operator linalg_matrix_exp = new("aten::linalg_matrix_exp");
    public static readonly Operator linalg_matrix_rank_atol_rtol_float =
        new("aten::linalg_matrix_rank", "atol_rtol_float");
    public static readonly Operator linalg_multi_dot = new("aten::linalg_multi_dot");
    public static readonly Operator linalg_vecdot = new("aten::linalg_vecdot");
    public static readonly Operator linalg_vecdot_out = new("aten::linalg_vecdot", "out");
}
