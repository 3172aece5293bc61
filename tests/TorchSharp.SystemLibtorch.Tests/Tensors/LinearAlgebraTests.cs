using static TorchSharp.torch;

namespace TorchSharp.SystemLibtorch.Tests.Tensors;

/// <summary>Each factorisation multiplies back to its matrix.</summary>
public class LinearAlgebraTests
{
    private static Tensor Matrix(long rows, long columns)
    {
        manual_seed(11);
        return randn(rows, columns, dtype: float64);
    }

    private static Tensor Positive(long size) => Matrix(size, size).mm(Matrix(size, size).t()).add(eye(size, dtype: float64));

    [Fact]
    public void Eigh_diagonalises()
    {
        using var scope = NewDisposeScope();
        var a = Positive(5);
        var (values, vectors) = linalg.eigh(a);
        Assert.True(vectors.mul(values).mm(vectors.t()).allclose(a));
        Assert.True(linalg.eigvalsh(a).allclose(values));
    }

    [Fact]
    public void Svd_qr_and_cholesky_multiply_back()
    {
        using var scope = NewDisposeScope();
        var a = Matrix(5, 3);
        var (u, s, vh) = linalg.svd(a, fullMatrices: false);
        Assert.True(u.mul(s).mm(vh).allclose(a));
        var (q, r) = linalg.qr(a);
        Assert.True(q.mm(r).allclose(a));
        var l = linalg.cholesky(Positive(4));
        Assert.True(l.mm(l.mT).allclose(Positive(4)));
    }

    [Fact]
    public void Solvers_solve()
    {
        using var scope = NewDisposeScope();
        var a = Positive(4);
        var b = Matrix(4, 2);
        Assert.True(a.mm(linalg.solve(a, b)).allclose(b));
        Assert.True(a.mm(linalg.inv(a)).allclose(eye(4, dtype: float64)));
        var lower = linalg.cholesky(a);
        Assert.True(lower.mm(linalg.solve_triangular(lower, b, upper: false)).allclose(b));
        Assert.True(linalg.pinv(Matrix(5, 3)).mm(Matrix(5, 3)).allclose(eye(3, dtype: float64)));
        Assert.True(a.mm(b.cholesky_solve(lower)).allclose(b));
    }

    [Fact]
    public void Norms_are_roots_of_sums()
    {
        using var scope = NewDisposeScope();
        var a = Matrix(3, 4);
        var frobenius = a.square().sum().sqrt();
        Assert.True(linalg.norm(a).allclose(frobenius));
        Assert.True(linalg.matrix_norm(a).allclose(frobenius));
        Assert.True(linalg.vector_norm(a).allclose(frobenius));
        Assert.True(linalg.vector_norm(a, 1, [1]).allclose(a.abs().sum(1)));
        Assert.True(linalg.matrix_norm(a, 2).allclose(linalg.svdvals(a).max()));
    }

    [Fact]
    public void A_matrix_that_is_not_positive_fails_with_a_message()
    {
        using var scope = NewDisposeScope();
        var negative = eye(2).neg();
        var error = Assert.Throws<System.Runtime.InteropServices.ExternalException>(() => linalg.cholesky(negative));
        Assert.Contains("not positive-definite", error.Message, StringComparison.Ordinal);
    }
}
