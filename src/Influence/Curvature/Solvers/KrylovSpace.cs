using Influence.Numerics;
using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// Arnoldi's iteration on a symmetric matrix: an orthonormal basis of v, H v, H^2 v, ..., the matrix's small image in it, and
/// from that its outer eigenpairs.
/// </summary>
internal static class KrylovSpace
{
    /// <summary>The eigenpairs of the largest magnitude.</summary>
    /// <param name="multiply">H times a row <c>[1, P]</c>.</param>
    /// <param name="layout">The length, dtype and device of a row.</param>
    /// <param name="options">Sizes and when to stop.</param>
    /// <returns>
    /// Values descending in magnitude; orthonormal rows <c>[K, P]</c> in the current scope; the largest |H v - l v| among
    /// them; the number of products.
    /// </returns>
    public static (double[] Values, Tensor Vectors, double Residual, int Products) Largest(
        Func<Tensor, Tensor> multiply,
        ParameterVector layout,
        Arnoldi.Options options
    )
    {
        using var scope = NewDisposeScope();
        var size = (int)Math.Min(options.Iterations, layout.Length);
        var basis = zeros([size, layout.Length], layout.Dtype, layout.Device); // [n, P]
        var image = new double[size, size];
        var first = SeededNumbers.Normal(options.Seed, 1, layout.Length, layout.Dtype, layout.Device);
        basis.narrow(0, 0, 1).copy_(first / first.norm());
        var (n, left, largest) = (0, 0.0, 0.0);
        while (true)
        {
            using var step = NewDisposeScope();
            var w = multiply(basis.narrow(0, n, 1)); // [1, P]
            var before = Rows.Norms(w)[0];
            var known = basis.narrow(0, 0, n + 1); // [n+1, P]

            // Twice: once leaves rounding that the next products blow up.
            for (var pass = 0; pass < 2; pass++)
            {
                var h = w.mm(known.t()); // [1, n+1]
                w = w - h.mm(known);
                var values = h.to_type(ScalarType.Float64).cpu().data<double>().ToArray();
                for (var i = 0; i <= n; i++)
                {
                    image[i, n] += values[i];
                }
            }

            left = Rows.Norms(w)[0];
            largest = Math.Max(largest, before);
            n++;
            if (n == size || left <= options.Tolerance * largest)
            {
                break;
            }

            image[n, n - 1] = left;
            basis.narrow(0, n, 1).copy_(w / Kept(left));
        }

        var small = tensor(image)[..n, ..n];
        var (ritz, vectors) = linalg.eigh((small + small.t()) * Kept(0.5)); // [n], [n, n]
        var found = ritz.data<double>().ToArray();
        var last = vectors.select(0, n - 1).contiguous().data<double>().ToArray();

        // What rounding makes of a zero eigenvalue has no direction of its own.
        var floor = found.Max(Math.Abs) * n * (layout.Dtype == ScalarType.Float64 ? 2.2e-16 : 1.2e-7);
        var kept = Enumerable
            .Range(0, n)
            .Where(k => Math.Abs(found[k]) > floor)
            .OrderByDescending(k => Math.Abs(found[k]))
            .Take(options.TopK)
            .ToArray();
        var rows =
            kept.Length == 0
                ? zeros([0, layout.Length], layout.Dtype, layout.Device)
                : Rows.Pick(vectors.t(), kept).to(layout.Dtype).to(layout.Device).mm(basis.narrow(0, 0, n)); // [K, P]
        return (
            [.. kept.Select(k => found[k])],
            rows.MoveToOuterDisposeScope(),
            kept.Select(k => left * Math.Abs(last[k])).DefaultIfEmpty(0).Max(),
            n
        );
    }
}
