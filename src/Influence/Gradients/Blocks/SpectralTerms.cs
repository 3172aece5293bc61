using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Weights W <c>[O, I]</c> of a product over eigen-directions as few outer products, W ~ sum over r of x_r y_r': a score is then a sum of R
/// ghost products. The nearest such sum in squares of r_o (W~ - W) c_i, with r and c the mean energies of rows and columns, so that r_o c_i
/// is about what one coordinate adds to a product.
/// </summary>
/// <remarks>
/// Two bounds hold for every pair, whatever the examples are; rounding is counted in both. With E = |W~ - W|, by Cauchy and Schwarz,
/// <code>|error| at most sqrt(sum of E q^2) sqrt(sum of E z^2)</code>
/// and with u_o = d_q d_z and v_i = a_q a_z, whose product with W~ - W between them the error is, and with the largest singular value,
/// <code>|error| at most |r (W~ - W) c| |u / r| |v / c|</code>
/// The second is far closer where what is left of W has no structure.
/// </remarks>
internal sealed class SpectralTerms : IDisposable
{
    private const double Floor = 0.1;
    private const double Least = 1e-30;
    private const double Rounding = 1 + 1e-4;
    private const long PairsAtOnce = 1 << 18;

    private SpectralTerms(Tensor left, Tensor right, Tensor difference, Tensor error, Tensor row, Tensor column, double spread) =>
        (Left, Right, Difference, Error, Row, Column, Spread) = (left, right, difference, error, row, column, spread);

    /// <summary>x, <c>[R, O]</c>.</summary>
    public Tensor Left { get; }

    /// <summary>y, <c>[R, I]</c>.</summary>
    public Tensor Right { get; }

    /// <summary>W - W~, <c>[O, I]</c>.</summary>
    public Tensor Difference { get; }

    /// <summary>What |W~ - W| is at most, <c>[O, I]</c>.</summary>
    public Tensor Error { get; }

    /// <summary>1 / r, <c>[O]</c>.</summary>
    public Tensor Row { get; }

    /// <summary>1 / c, <c>[I]</c>.</summary>
    public Tensor Column { get; }

    /// <summary>The largest singular value of r (W~ - W) c, at most.</summary>
    public double Spread { get; }

    /// <summary>R.</summary>
    public long Rank => Left.shape[0];

    /// <summary>So many terms; with R = min(O, I) they are W.</summary>
    public static SpectralTerms Of(Tensor weights, Tensor energy, long rank)
    {
        using var scope = NewDisposeScope();
        var (left, right) = Decomposed(weights, energy, rank);
        return Rounded(weights, energy, left, right);
    }

    /// <summary>
    /// As few terms as keep the mean of E x^2 over the fit's examples within a share of that of W x^2, and one more where that holds E
    /// below the tolerance in every entry; null where more than the maximum would be needed.
    /// </summary>
    /// <param name="weights">W.</param>
    /// <param name="energy">The mean of x^2 over examples, <c>[O, I]</c>: the eigenvalues.</param>
    /// <param name="share">Of the means.</param>
    /// <param name="tolerance">Of every entry.</param>
    /// <param name="maximum">The most terms.</param>
    public static SpectralTerms? Within(Tensor weights, Tensor energy, double share, double tolerance, long maximum)
    {
        using var scope = NewDisposeScope();
        maximum = Math.Min(maximum, Math.Min(weights.shape[0], weights.shape[1]));
        if (maximum < 1)
        {
            return null;
        }

        var (left, right) = Decomposed(weights, energy, maximum);
        var (wide, e) = (weights.to_type(ScalarType.Float64), energy.to_type(ScalarType.Float64));
        var allowed = (wide * e).sum().item<double>() * share;
        for (long rank = 1; rank <= maximum; rank++)
        {
            using var step = NewDisposeScope();
            var rest = (wide - left.narrow(0, 0, rank).t().mm(right.narrow(0, 0, rank))).abs_();
            if ((rest * e).sum().item<double>() > allowed)
            {
                continue;
            }

            var terms = Rounded(weights, energy, left.narrow(0, 0, rank), right.narrow(0, 0, rank));
            if (rank < maximum && !terms.IsWithin(weights, tolerance))
            {
                var more = Rounded(weights, energy, left.narrow(0, 0, rank + 1), right.narrow(0, 0, rank + 1));
                var better = more.IsWithin(weights, tolerance);
                (better ? terms : more).Dispose();
                terms = better ? more : terms;
            }

            return terms;
        }

        return null;
    }

    /// <summary>Whether no entry is off by more than a share of itself: then no example need be looked at.</summary>
    public bool IsWithin(Tensor weights, double tolerance)
    {
        using var scope = NewDisposeScope();
        return Error.le(weights * Kept(tolerance)).all().item<bool>();
    }

    /// <summary>Adds what the products of Q queries with B training examples by these terms are off by at most, the smaller of the two
    /// bounds.</summary>
    /// <param name="bounds"><c>[Q, B]</c>.</param>
    /// <param name="queryA">a of the queries in the eigenbasis, <c>[Q, I]</c>.</param>
    /// <param name="queryD">d of the queries, <c>[Q, O]</c>.</param>
    /// <param name="trainA">a of the training examples, <c>[B, I]</c>.</param>
    /// <param name="trainD">d of the training examples, <c>[B, O]</c>.</param>
    public void AddBounds(Tensor bounds, Tensor queryA, Tensor queryD, Tensor trainA, Tensor trainD)
    {
        // Over their largest entries, so that no square is too small for its type.
        using var scope = NewDisposeScope();
        var (query, train) = (Unit(queryA, queryD), Unit(trainA, trainD));
        var (ofQueries, ofTrain) = (ErrorsOf(query), ErrorsOf(train)); // [Q, 1], [B, 1]
        var (a, d) = (query.A * Column * Column, query.D * Row * Row);
        var columns = Math.Max(64, PairsAtOnce / Math.Max(1, bounds.shape[0]));
        for (long start = 0; start < bounds.shape[1]; start += columns)
        {
            using var step = NewDisposeScope();
            var count = Math.Min(columns, bounds.shape[1] - start);
            var u = d.mm(train.D.narrow(0, start, count).t()).add_(Kept(Least)).sqrt_(); // |u / r|, [Q, b]
            var v = a.mm(train.A.narrow(0, start, count).t()).add_(Kept(Least)).sqrt_(); // |v / c|
            var bound = u.mul_(v).mul_(Kept(Spread)).minimum(ofQueries * ofTrain.narrow(0, start, count).t());
            bounds.narrow(1, start, count).addcmul_(bound.mul_(query.Size), train.Size.narrow(0, start, count).t(), Kept(Rounding));
        }
    }

    public void Dispose()
    {
        Left.Dispose();
        Right.Dispose();
        Difference.Dispose();
        Error.Dispose();
        Row.Dispose();
        Column.Dispose();
    }

    /// <summary>x <c>[R, O]</c> and y <c>[R, I]</c> in float64, by the eigenvectors of the smaller side's Gram matrix; in the current
    /// scope.</summary>
    private static (Tensor Left, Tensor Right) Decomposed(Tensor weights, Tensor energy, long rank)
    {
        using var scope = NewDisposeScope();
        var wide = weights.to_type(ScalarType.Float64); // [O, I]
        var (row, column) = (Scale(energy, 1), Scale(energy, 0)); // [O], [I]
        var scaled = wide * row.unsqueeze(1) * column; // [O, I]
        var (gram, rows) = Gram(scaled);
        var vectors = linalg.eigh(gram).Item2.narrow(1, gram.shape[0] - rank, rank).flip(1).t(); // [R, O] or [R, I]
        var (left, right) = rows ? (vectors, vectors.mm(scaled)) : (vectors.mm(scaled.t()), vectors);
        return ((left / row).MoveToOuterDisposeScope(), (right / column).MoveToOuterDisposeScope());
    }

    /// <summary>The smaller side's Gram matrix, and whether that side is the rows.</summary>
    private static (Tensor Gram, bool Rows) Gram(Tensor matrix) =>
        matrix.shape[0] <= matrix.shape[1] ? (matrix.mm(matrix.t()), true) : (matrix.t().mm(matrix), false);

    /// <summary>The mean energy along one side over that of all; where there is hardly any, W is as good as constant.</summary>
    private static Tensor Scale(Tensor energy, long dimension)
    {
        var mean = energy.to_type(ScalarType.Float64).mean([dimension]);
        var all = mean.mean();
        return all.item<double>() > 0 ? (mean / all).add_(Kept(Floor)) : ones_like(mean);
    }

    /// <summary>Squares of factors over their largest entries, and the product of those, <c>[B, 1]</c>.</summary>
    private static (Tensor A, Tensor D, Tensor Size) Unit(Tensor activation, Tensor outputGradient)
    {
        var (a, d) = (Largest(activation), Largest(outputGradient));
        return ((activation / a).Squared(), (outputGradient / d).Squared(), a * d);

        static Tensor Largest(Tensor values) => values.abs().amax([1], keepdim: true).clamp_min_(Kept(1e-37));
    }

    /// <summary>sqrt(sum of E x^2) of each example, <c>[B, 1]</c>.</summary>
    private Tensor ErrorsOf((Tensor A, Tensor D, Tensor Size) squares) =>
        squares.D.mm(Error).mul_(squares.A).sum(1, keepdim: true).add_(Kept(Least)).sqrt_();

    private static SpectralTerms Rounded(Tensor weights, Tensor energy, Tensor left, Tensor right)
    {
        using var scope = NewDisposeScope();
        var (x, y) = (left.to_type(weights.dtype).contiguous(), right.to_type(weights.dtype).contiguous());
        var (wideX, wideY) = (x.to_type(ScalarType.Float64), y.to_type(ScalarType.Float64));
        var difference = weights.to_type(ScalarType.Float64) - wideX.t().mm(wideY); // [O, I]

        // Terms cancel, and products are summed in the weights' type.
        var rounding = weights.dtype == ScalarType.Float64 ? 2.2e-16 : 1.2e-7;
        var sums = wideX.abs().t().mm(wideY.abs()).mul_(Kept(rounding));
        var error = difference.abs() + sums;
        var (row, column) = (Scale(energy, 1), Scale(energy, 0));
        var scaled = difference * row.unsqueeze(1) * column;
        var largest = Math.Sqrt(Math.Max(0, linalg.eigvalsh(Gram(scaled).Gram).max().item<double>()));
        var spread = (largest * (1 + 1e-6)) + (sums * row.unsqueeze(1) * column).norm().item<double>();
        return new SpectralTerms(
            x.clone().DetachFromDisposeScope(),
            y.clone().DetachFromDisposeScope(),
            difference.to_type(weights.dtype).clone().DetachFromDisposeScope(),
            (error * Kept(1 + 1e-6)).to_type(weights.dtype).clone().DetachFromDisposeScope(),
            row.reciprocal().to_type(weights.dtype).clone().DetachFromDisposeScope(),
            column.reciprocal().to_type(weights.dtype).clone().DetachFromDisposeScope(),
            spread
        );
    }
}
