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

        public static Tensor solve(Tensor A, Tensor B, bool left = true) => Aten.linalg_solve.Call(A, B, left);

        public static Tensor solve_triangular(
            Tensor A, Tensor B, bool upper, bool left = true, bool unitriangular = false, Tensor? @out = null) =>
            @out is null
                ? Aten.linalg_solve_triangular.Call(A, B, upper, left, unitriangular)
                : Aten.linalg_solve_triangular_out.Call(A, B, upper, left, unitriangular, @out);

        public static Tensor inv(Tensor input) => Aten.linalg_inv.Call(input);

        public static Tensor pinv(
            Tensor input, double? atol = null, double? rtol = null, bool hermitian = false) =>
            Aten.linalg_pinv_atol_rtol_float.Call(input, atol, rtol, hermitian);

        public static Tensor diagonal(Tensor input, int offset = 0, int dim1 = -2, int dim2 = -1) =>
            input.diagonal(offset, dim1, dim2);
    }
}

internal static partial class Aten
{
    public static readonly Operator linalg_cholesky = new("aten::linalg_cholesky");
    public static readonly Operator linalg_eigh = new("aten::linalg_eigh");
    public static readonly Operator linalg_eigvalsh = new("aten::linalg_eigvalsh");
    public static readonly Operator linalg_svd = new("aten::linalg_svd");
    public static readonly Operator linalg_svdvals = new("aten::linalg_svdvals");
    public static readonly Operator linalg_qr = new("aten::linalg_qr");
    public static readonly Operator linalg_solve = new("aten::linalg_solve");
    public static readonly Operator linalg_solve_triangular = new("aten::linalg_solve_triangular");
    public static readonly Operator linalg_solve_triangular_out = new("aten::linalg_solve_triangular", "out");
    public static readonly Operator linalg_inv = new("aten::linalg_inv");
    public static readonly Operator linalg_pinv_atol_rtol_float = new("aten::linalg_pinv", "atol_rtol_float");
}
