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

    /// <summary>With fewer examples at once matrix products are slow.</summary>
    private const long LeastExamples = 128;

    /// <summary>How often the response is gone over, beside the coordinates, which are written once.</summary>
    private const long ResponsePasses = 3;

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
                Products.AddGhost(
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
                Products.AddGhost(
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

    /// <summary>
    /// A band of rows and some examples at a time, so that what is written out stays in the caches, in the form that writes less: either
    /// the examples' coordinates, I numbers a row and example, or the queries' response to them, Q numbers a row and example.
    /// </summary>
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
        var (q, b, columns, rows) = (queryA.shape[0], a.shape[0], queryA.shape[2], queryD.shape[2]);
        var responds = a.shape[1] == 1 && ResponsePasses * q < columns;
        var numbers = Math.Min(numbersAtOnce, Pieces.Numbers);
        var examples = Math.Clamp(numbers / (responds ? q : columns), Math.Min(b, LeastExamples), b);
        var band = Math.Clamp(Math.Min(numbers / (q * columns), numbers / (examples * (responds ? q : columns))), 1, rows);
        for (long row = 0; row < rows; row += band)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(band, rows - row);
            var query = arithmetic.Rounded(Coordinates(queryA, queryD.narrow(2, row, count)).mul_(weights.narrow(0, row, count))); // [Q, R, C]
            for (long first = 0; first < b; first += examples)
            {
                using var step = NewDisposeScope();
                var some = Math.Min(examples, b - first);
                var target = products.narrow(1, first, some);
                var (ownA, ownD) = (a.narrow(0, first, some), d.narrow(0, first, some).narrow(2, row, count));
                if (responds)
                {
                    var response = arithmetic.Product(query.reshape(q * count, columns), ownA.squeeze(1).t(), products.dtype); // [Q*R, b]
                    target.add_(response.reshape(q, count, some).mul_(ownD.squeeze(1).t()).sum(1));
                }
                else
                {
                    arithmetic.AddProduct(target, query.reshape(q, -1), Coordinates(ownA, ownD).reshape(some, -1).t());
                }
            }
        }
    }

    /// <summary>sum over t of d_t a_t', <c>[B, R, C]</c>.</summary>
    private static Tensor Coordinates(Tensor a, Tensor d) => a.shape[1] == 1 ? d.transpose(1, 2) * a : d.transpose(1, 2).bmm(a);
}
