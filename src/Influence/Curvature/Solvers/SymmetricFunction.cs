using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Curvature;

/// <summary>
/// f(M) b for a symmetric M that is known by its products only: Lanczos' iteration from b, with every new direction made
/// orthogonal to all before it, and f of the small tridiagonal image. Golub, Meurant, "Matrices, Moments and Quadrature", 2010, chapter 4.
/// </summary>
/// <remarks>Exact once the directions span what M makes of b, at the latest after P steps. Memory: one vector of b's size for each
/// step.</remarks>
internal static class SymmetricFunction
{
    /// <summary>Several functions of one matrix, times each row, from one iteration.</summary>
    /// <param name="multiply">M times rows <c>[K, P]</c>; M has no negative eigenvalues beyond rounding.</param>
    /// <param name="b"><c>[K, P]</c>.</param>
    /// <param name="functions">Functions of an eigenvalue, which is cut off at zero.</param>
    /// <param name="maximum">Steps at most.</param>
    /// <param name="tolerance">Stops where four more steps changed every result by at most this times its length.</param>
    /// <returns>One <c>[K, P]</c> a function, in the current scope; the steps; the largest relative change by the last four.</returns>
    public static (Tensor[] Values, int Steps, double Change) Of(
        Func<Tensor, Tensor> multiply,
        Tensor b,
        IReadOnlyList<Func<double, double>> functions,
        int maximum,
        double tolerance
    )
    {
        using var scope = NewDisposeScope();
        var (rows, width) = (b.shape[0], b.shape[1]);
        var size = (int)Math.Min(maximum, width);
        var rounding = b.dtype == ScalarType.Float64 ? 1e-14 : 1e-6;
        var lengths = Rows.Norms(b);
        var basis = zeros([rows, size, width], b.dtype, b.device); // [K, m, P]
        basis.select(1, 0).copy_(b * Rows.Column([.. lengths.Select(Inverse)], b));
        var image = zeros([rows, size, size], ScalarType.Float64); // [K, m, m]
        var scale = new double[rows];
        Tensor[]? before = null; // [K, m] a function
        for (var n = 1; ; n++)
        {
            using var step = NewDisposeScope();
            var v = basis.select(1, n - 1); // [K, P]
            var w = multiply(v);
            var diagonal = Rows.Dot(w, v);
            var known = basis.narrow(1, 0, n); // [K, n, P]

            // Twice: once leaves rounding that the next products blow up.
            for (var pass = 0; pass < 2; pass++)
            {
                w = w - known.transpose(1, 2).bmm(known.bmm(w.unsqueeze(2))).squeeze(2);
            }

            var left = Rows.Norms(w);
            for (var k = 0; k < rows; k++)
            {
                scale[k] = Math.Max(scale[k], Math.Max(Math.Abs(diagonal[k]), left[k]));
                left[k] = left[k] <= rounding * scale[k] ? 0 : left[k];
            }

            image.select(2, n - 1).select(1, n - 1).copy_(tensor(diagonal));
            var done = n == size || left.All(l => l == 0);
            if (n % 4 == 0 || done)
            {
                var (now, change) = Coefficients(image.narrow(1, 0, n).narrow(2, 0, n), lengths, functions, before);
                if (done || change <= tolerance)
                {
                    Tensor[] values = [.. now.Select(c => c.to(b.dtype).to(b.device).unsqueeze(1).bmm(known).squeeze(1))];
                    foreach (var value in values)
                    {
                        // Out of the step's scope and out of this call's.
                        value.MoveToOuterDisposeScope().MoveToOuterDisposeScope();
                    }

                    return (values, n, left.All(l => l == 0) ? 0 : change);
                }

                foreach (var old in before ?? [])
                {
                    old.Dispose();
                }

                before = [.. now.Select(c => c.MoveToOuterDisposeScope())];
            }

            basis.select(1, n).copy_(w * Rows.Column([.. left.Select(Inverse)], w));
            image.select(2, n - 1).select(1, n).copy_(tensor(left));
            image.select(2, n).select(1, n - 1).copy_(tensor(left));
        }
    }

    /// <summary>|b| f(T) e_1 of every row and function, <c>[K, n]</c>, and the largest relative change since the last.</summary>
    private static (Tensor[] Now, double Change) Coefficients(
        Tensor image,
        double[] lengths,
        IReadOnlyList<Func<double, double>> functions,
        Tensor[]? before
    )
    {
        var n = image.shape[1];
        var (eigenvalues, vectors) = linalg.eigh(image); // [K, n], [K, n, n]
        var numbers = eigenvalues.data<double>().ToArray();
        var first = vectors.select(1, 0); // [K, n]
        var column = tensor(lengths).unsqueeze(1);
        var (now, change) = (new Tensor[functions.Count], before is null ? double.PositiveInfinity : 0.0);
        for (var f = 0; f < functions.Count; f++)
        {
            double[] mapped = [.. numbers.Select(x => functions[f](Math.Max(x, 0)))];
            now[f] = vectors.bmm((tensor(mapped).reshape(-1, n) * first).unsqueeze(2)).squeeze(2) * column; // [K, n]
            if (before is null)
            {
                continue;
            }

            var difference = now[f].clone();
            difference.narrow(1, 0, before[f].shape[1]).sub_(before[f]);
            var (moved, whole) = (Rows.Norms(difference), Rows.Norms(now[f]));
            for (var k = 0; k < moved.Length; k++)
            {
                var floor = 1e-6 * lengths[k] * mapped.Skip((int)(k * n)).Take((int)n).Max(Math.Abs);
                change = Math.Max(change, moved[k] == 0 ? 0 : moved[k] / Math.Max(whole[k], floor));
            }
        }

        return (now, change);
    }

    private static double Inverse(double length) => length == 0 ? 0 : 1 / length;
}
