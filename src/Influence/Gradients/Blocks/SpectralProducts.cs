using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// sum over o, i of W[o, i] q[o, i] z[o, i] with q and z given as factors: band by band of rows, the coordinates of both sides
/// are written out and multiplied, and forgotten.
/// </summary>
internal static class SpectralProducts
{
    /// <summary>So many products of factors at once stay in the processor's caches until they are multiplied.</summary>
    private const long ProductsAtOnce = 1 << 18;

    /// <summary>Adds the products of Q queries with B training examples.</summary>
    /// <param name="products"><c>[Q, B]</c>.</param>
    /// <param name="queryA">a of the queries in the eigenbasis, <c>[Q, T, I]</c>.</param>
    /// <param name="queryD">d of the queries in the eigenbasis, <c>[Q, T, O]</c>.</param>
    /// <param name="train">Training examples in the eigenbasis.</param>
    /// <param name="weights">W.</param>
    /// <param name="numbersAtOnce">How many numbers may be written out at once.</param>
    /// <param name="arithmetic">How matrix products are reckoned; null: in the numbers' own type.</param>
    public static void Add(
        Tensor products,
        Tensor queryA,
        Tensor queryD,
        FactoredGradients train,
        SpectralWeights weights,
        long numbersAtOnce,
        ProductArithmetic? arithmetic = null
    )
    {
        arithmetic ??= ProductArithmetic.Own;
        var (a, d) = (train.Activation, train.OutputGradient);
        var exact = weights.Error is null ? null : Exceptions(queryA, queryD, a, d, weights);
        if (weights.Terms is { } terms)
        {
            AddTerms(products, queryA, queryD, arithmetic.Rounded(a), arithmetic.Rounded(d), terms, arithmetic);
        }

        foreach (var band in weights.Bands)
        {
            using var scope = NewDisposeScope();
            var columns = queryA.shape[2] - band.Own;
            if (band.Common is { } common && band.Own > 0)
            {
                AddGhost(
                    products,
                    queryA.narrow(2, 0, band.Own) * common,
                    Rows(queryD, band),
                    a.narrow(2, 0, band.Own),
                    Rows(d, band),
                    arithmetic
                );
            }

            if (columns > 0)
            {
                var own = weights.Weights.narrow(0, band.Row, band.Rows).narrow(1, band.Own, columns);
                AddWritten(
                    products,
                    queryA.narrow(2, band.Own, columns),
                    Rows(queryD, band),
                    a.narrow(2, band.Own, columns),
                    Rows(d, band),
                    own,
                    numbersAtOnce,
                    arithmetic
                );
            }
        }

        if (exact is not null)
        {
            AddExceptions(products, exact, queryA, queryD, a, d, weights, numbersAtOnce);
        }
    }

    /// <summary>sum over r of ghost products with the queries' factors times x_r and y_r.</summary>
    public static void AddTerms(
        Tensor products,
        Tensor queryA,
        Tensor queryD,
        Tensor a,
        Tensor d,
        SpectralTerms terms,
        ProductArithmetic? arithmetic = null
    )
    {
        arithmetic ??= ProductArithmetic.Own;
        var columns = Math.Max(64, ProductsAtOnce / Math.Max(1, queryA.shape[0] * queryA.shape[1]));
        for (long r = 0; r < terms.Rank; r++)
        {
            using var scope = NewDisposeScope();
            var scaledA = arithmetic.Rounded(queryA * terms.Right.select(0, r));
            var scaledD = arithmetic.Rounded(queryD * terms.Left.select(0, r));
            for (long start = 0; start < a.shape[0]; start += columns)
            {
                using var step = NewDisposeScope();
                var count = Math.Min(columns, a.shape[0] - start);
                AddGhost(
                    products.narrow(1, start, count),
                    scaledA,
                    scaledD,
                    a.narrow(0, start, count),
                    d.narrow(0, start, count),
                    arithmetic
                );
            }
        }
    }

    /// <summary>The training examples whose bound exceeds the tolerance with some query; null where there are none.</summary>
    private static Tensor? Exceptions(Tensor queryA, Tensor queryD, Tensor a, Tensor d, SpectralWeights weights)
    {
        if (queryA.shape[1] > 1 || a.shape[1] > 1)
        {
            return arange(Kept(0), Kept(a.shape[0]), Kept(1), ScalarType.Int64, a.device);
        }

        using var scope = NewDisposeScope();
        var ofQueries = weights.Ratio(queryA.squeeze(1).Squared(), queryD.squeeze(1).Squared()).max();
        var ofTrain = weights.Ratio(a.squeeze(1).Squared(), d.squeeze(1).Squared()); // [B]
        var beyond = (ofTrain * ofQueries).gt(Kept(weights.Tolerance * weights.Tolerance));
        var found = beyond.nonzero().reshape(-1);
        return found.shape[0] == 0 ? null : found.MoveToOuterDisposeScope();
    }

    /// <summary>For these examples, what the shared weights left out.</summary>
    private static void AddExceptions(
        Tensor products,
        Tensor which,
        Tensor queryA,
        Tensor queryD,
        Tensor a,
        Tensor d,
        SpectralWeights weights,
        long numbersAtOnce
    )
    {
        using var scope = NewDisposeScope();
        var (someA, someD) = (a.index_select(0, which), d.index_select(0, which));
        var rest = zeros([products.shape[0], which.shape[0]], products.dtype, products.device);
        if (weights.Terms is { } terms)
        {
            AddWritten(rest, queryA, queryD, someA, someD, terms.Difference, numbersAtOnce, ProductArithmetic.Own);
        }

        foreach (var band in weights.Bands.Where(b => b.Common is not null && b.Own > 0))
        {
            using var inner = NewDisposeScope();
            var difference = weights.Weights.narrow(0, band.Row, band.Rows).narrow(1, 0, band.Own) - band.Common!;
            AddWritten(
                rest,
                queryA.narrow(2, 0, band.Own),
                Rows(queryD, band),
                someA.narrow(2, 0, band.Own),
                Rows(someD, band),
                difference,
                numbersAtOnce,
                ProductArithmetic.Own
            );
        }

        products.index_add_(1, which, rest, Kept(1));
    }

    private static Tensor Rows(Tensor d, SpectralWeights.Band band) => d.narrow(2, band.Row, band.Rows);

    private static void AddGhost(Tensor products, Tensor queryA, Tensor queryD, Tensor a, Tensor d, ProductArithmetic arithmetic)
    {
        var aa = Gram(queryA, a); // [Q*T, B*T]
        var dd = Gram(queryD, d);
        if (queryA.shape[1] == 1 && a.shape[1] == 1)
        {
            products.addcmul_(aa, dd, Kept(1));
        }
        else
        {
            products.add_(aa.mul_(dd).reshape(queryA.shape[0], queryA.shape[1], a.shape[0], a.shape[1]).sum(1, 3));
        }

        Tensor Gram(Tensor left, Tensor right) =>
            arithmetic.Product(left.reshape(-1, left.shape[2]), right.reshape(-1, right.shape[2]).t(), products.dtype);
    }

    private static void AddWritten(
        Tensor products,
        Tensor queryA,
        Tensor queryD,
        Tensor a,
        Tensor d,
        Tensor weights,
        long numbersAtOnce,
        ProductArithmetic arithmetic
    )
    {
        using var rounded = NewDisposeScope();
        (a, d) = (arithmetic.Rounded(a), arithmetic.Rounded(d));
        var (q, b, columns) = (queryA.shape[0], a.shape[0], queryA.shape[2]);
        var atOnce = Math.Clamp(numbersAtOnce / ((q + b) * columns), 1, queryD.shape[2]);
        for (long row = 0; row < queryD.shape[2]; row += atOnce)
        {
            using var scope = NewDisposeScope();
            var rows = Math.Min(atOnce, queryD.shape[2] - row);
            var query = Coordinates(queryA, queryD.narrow(2, row, rows)).mul_(weights.narrow(0, row, rows)).reshape(q, -1);
            var train = Coordinates(a, d.narrow(2, row, rows)).reshape(b, -1); // [B, R*C]
            arithmetic.AddProduct(products, query, train.t());
        }
    }

    /// <summary>sum over t of d_t a_t', <c>[B, R, C]</c>.</summary>
    private static Tensor Coordinates(Tensor a, Tensor d) => a.shape[1] == 1 ? d.transpose(1, 2) * a : d.transpose(1, 2).bmm(a);
}
