using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Gradients of an embedding table: row v gets the sum of the output gradients at the positions that hold token v. Only
/// the rows that occur are ever built.
/// </summary>
/// <param name="tokens">Indices, int64 <c>[B, T]</c>.</param>
/// <param name="outputGradient">d, <c>[B, T, D]</c>; zero where the layer gives no gradient (a padding index).</param>
/// <param name="vocabulary">V, the number of rows of the table.</param>
internal sealed class TokenGradients(Tensor tokens, Tensor outputGradient, long vocabulary) : BlockGradients(tokens.shape[0])
{
    /// <summary>Indices, int64 <c>[B, T]</c>.</summary>
    public Tensor Tokens => tokens;

    /// <summary>Gradients of a whole table by single examples, <c>[B, V*D]</c>, in this form: every row occurs once.</summary>
    public static TokenGradients Substitute(long examples, Tensor table, long vocabulary) =>
        new(
            arange(Kept(0), Kept(vocabulary), Kept(1), ScalarType.Int64, table.device).expand(examples, vocabulary),
            table.reshape(examples, vocabulary, -1),
            vocabulary
        )
        {
            IsSubstitute = true,
        };

    /// <summary>d, <c>[B, T, D]</c>.</summary>
    public Tensor OutputGradient => outputGradient;

    /// <summary>Optional <c>[B, T]</c>: the positions that count; d is zero at the others.</summary>
    public Tensor? Mask { get; init; }

    public long Vocabulary => vocabulary;

    public long Width => outputGradient.shape[2];

    /// <summary>The rows of the table that occur in this batch, ascending, int64 <c>[U]</c>.</summary>
    public Tensor DistinctTokens() => tokens.reshape(-1).unique(sorted: true).Item1;

    /// <summary>
    /// The gradients of the chosen rows only, <c>[B, U*D]</c>.
    /// </summary>
    /// <param name="rowOf">int64 <c>[V]</c>: the place of each token among the chosen rows, or U for one that is not chosen.</param>
    /// <param name="rows">U.</param>
    public Tensor Rows(Tensor rowOf, long rows)
    {
        // One spare row per example takes what is not chosen.
        var (b, t, d) = (Examples, tokens.shape[1], Width);
        var first = arange(Kept(0), Kept(b), Kept(1), ScalarType.Int64, tokens.device).mul_(Kept(rows + 1)).unsqueeze(1); // [B, 1]
        var place = rowOf.index_select(0, tokens.reshape(-1)).reshape(b, t).add_(first); // [B, T]
        var sums = zeros([b * (rows + 1), d], outputGradient.dtype, outputGradient.device);
        sums.index_add_(0, place.reshape(-1), outputGradient.reshape(-1, d), Kept(1));
        return sums.reshape(b, rows + 1, d).narrow(1, 0, rows).reshape(b, rows * d);
    }

    /// <summary>
    /// One row for each pair of an example and a token that occurs in it: the examples' positions in the batch <c>[U]</c>, the
    /// tokens <c>[U]</c>, and the pairs' gradients <c>[U, D]</c>.
    /// </summary>
    public (Tensor Example, Tensor Token, Tensor Sums) Pairs()
    {
        var example = arange(Kept(0), Kept(Examples), Kept(1), ScalarType.Int64, tokens.device).unsqueeze(1); // [B, 1]
        var (pairs, place, _) = (tokens + (example * Kept(vocabulary))).reshape(-1).unique(return_inverse: true);
        var sums = zeros([pairs.shape[0], Width], outputGradient.dtype, outputGradient.device);
        sums.index_add_(0, place!, outputGradient.reshape(-1, Width), Kept(1));
        return (pairs.floor_divide(Kept(vocabulary)), pairs.remainder(Kept(vocabulary)), sums);
    }

    public override TableUse TableUse => TableUse.Embedding;

    public override void AddTableSquares(Tensor sums, Func<Tensor, Tensor> rotate, long numbersAtOnce)
    {
        using var scope = NewDisposeScope();
        var (_, token, pairs) = Pairs(); // [U], [U, D]
        sums.index_add_(0, token, rotate(pairs).Squared().to_type(ScalarType.Float64), Kept(1));
    }

    public override Tensor WeightedTableSquares(Tensor weights, Func<Tensor, Tensor> rotate)
    {
        using var scope = NewDisposeScope();
        var (example, token, sums) = Pairs(); // [U], [U], [U, D]
        var terms = rotate(sums).Squared().mul_(weights.index_select(0, token)).sum(1);
        var total = zeros([Examples], sums.dtype, sums.device);
        return total.index_add_(0, example, terms, Kept(1)).MoveToOuterDisposeScope();
    }

    /// <summary>Every position's share is scaled by its own token's weights.</summary>
    public override BlockGradients ScaledTable(Tensor weights, Func<Tensor, Tensor> rotate, Func<Tensor, Tensor> rotateBack)
    {
        using var scope = NewDisposeScope();

        // Not in place: without a basis, and between tables whose outputs are added, this is the captured gradient itself.
        var d = rotate(outputGradient); // [B, T, D]
        var scaled = d * weights.index_select(0, tokens.reshape(-1)).reshape(d.shape);
        return new TokenGradients(tokens, rotateBack(scaled).MoveToOuterDisposeScope(), vocabulary);
    }

    public override Func<Tensor?, long, long, Tensor> RotatedTables(Func<Tensor, Tensor> rotate, long rows)
    {
        var rotated = rotate(outputGradient); // [B, T, D]
        return (sum, start, count) =>
        {
            sum ??= zeros([count, rows, Width], rotated.dtype, rotated.device);
            var first = arange(Kept(0), Kept(count), Kept(1), ScalarType.Int64, tokens.device).mul_(Kept(rows)).unsqueeze(1);
            var place = (tokens.narrow(0, start, count) + first).reshape(-1); // [count*T]
            sum.view(-1, Width).index_add_(0, place, rotated.narrow(0, start, count).reshape(-1, Width), Kept(1));
            return sum;
        };
    }

    /// <summary>Whether the positions are the examples' own, and not those of several calls.</summary>
    public bool PositionsLead { get; init; }

    public override long? OwnPositions => PositionsLead ? tokens.shape[1] : null;

    public override bool HasBias => false;

    public override Contraction? OwnContraction => Contraction.Rows;

    public override bool WritingIsCheaper => false;

    public override bool CanBeCut => true;

    public override double NumbersAtWork => tokens.shape[1] * (double)Width;

    public override double NumbersKept(Contraction contraction) => (double)tokens.shape[1] * (Width + 2);

    /// <summary>The sums, their signs, and places, which are int64 and are made twice.</summary>
    public override double NumbersToSketch(double parameters) => 6.0 * tokens.shape[1] * Width;

    public override double NumbersToProject(PartProjection[] projections) =>
        projections[0].Left is null
            ? base.NumbersToProject(projections)
            : Math.Max(NumbersToWrite(projections.Sum(p => (double)p.Outputs * p.Inputs)), 1)
                + (tokens.shape[1] * (double)(Width + (2 * projections[0].KeptSides)));

    public override Tensor PreciseSquaredNorms() =>
        new TokenGradients(tokens, outputGradient.to_type(ScalarType.Float64), vocabulary).SquaredNorms();

    public override Tensor[] Sum(Tensor? weights = null, Tensor? chosen = null)
    {
        var table = zeros([vocabulary, Width], outputGradient.dtype, outputGradient.device);
        var gradient = weights is null ? outputGradient : outputGradient * weights.reshape(-1, 1, 1);
        table.index_add_(0, tokens.reshape(-1), gradient.reshape(-1, Width), Kept(1));
        return [table.reshape(-1)];
    }

    /// <summary>sum over t of d_t' V_q[x_t]: only rows that occur are read.</summary>
    public override void AddProducts(Tensor products, Tensor[] queries, ProductArithmetic? arithmetic = null) =>
        Products.AddTable(products, queries[0], this);

    public override QueryFactors? FactorsFor(Contraction contraction) =>
        contraction == Contraction.Rows ? new QueryFactors(tokens.clone(), outputGradient.clone()) : null;

    public override void AddFactorProducts(
        Tensor products,
        QueryFactors queries,
        ContractionPlanner planner,
        ProductArithmetic arithmetic
    ) => Products.AddRows(products, queries.First, queries.Second, this, planner.RowsAtOnce(queries.First.shape[0] + Examples, Width));

    public override bool TryAddGram(Tensor products, ContractionPlanner planner)
    {
        Products.AddRows(products, tokens, outputGradient, this, planner.RowsAtOnce(2 * Examples, Width));
        return true;
    }

    public override BlockGradients Copy(DisposeScope scope)
    {
        var (x, d) = (tokens.clone(), outputGradient.clone());
        scope.Attach(x, d);
        return new TokenGradients(x, d, vocabulary) { PositionsLead = PositionsLead, IsSubstitute = IsSubstitute };
    }

    public override double NumbersToCopy => tokens.shape[1] * ((double)Width + 2);

    /// <summary>sum over t, s with the same token of d_t . e_s, example by example.</summary>
    public override Tensor MatchedProducts(BlockGradients others)
    {
        if (
            others is not TokenGradients right
            || right.Width != Width
            || (double)tokens.shape[1] * right.Tokens.shape[1] > 2.0 * vocabulary * Width
        )
        {
            return base.MatchedProducts(others);
        }

        using var scope = NewDisposeScope();
        var same = tokens.unsqueeze(2).eq(right.Tokens.unsqueeze(1)); // [B, T, S]
        var products = outputGradient.bmm(right.OutputGradient.transpose(1, 2)); // [B, T, S]
        return products.mul_(same.to_type(products.dtype)).sum(1, 2).MoveToOuterDisposeScope();
    }

    public override void AddSketch(Tensor rows, (Tensor Column, Tensor? Sign)[] columns)
    {
        var (example, token, sums) = Pairs(); // [U], [U], [U, D]
        // [U, D], in the rows one after the other
        var place = ForTokens(columns[0].Column).add_(example.unsqueeze(1) * Kept(rows.shape[1]));
        var signed = columns[0].Sign is { } sign ? sums.mul_(ForTokens(sign)) : sums; // [U, D]
        rows.view(-1).index_add_(0, place.reshape(-1), signed.reshape(-1), Kept(1));

        Tensor ForTokens(Tensor parameters) => parameters.reshape(vocabulary, Width).index_select(0, token); // [U, D]
    }

    public override void AddProjected(Tensor rows, PartProjection[] projections)
    {
        if (projections[0].Left is null)
        {
            base.AddProjected(rows, projections);
        }
        else
        {
            projections[0].AddTokens(rows, tokens, outputGradient);
        }
    }

    public override BlockGradients Part(int part) => this;

    public override Tensor? NotFinite() => NotFinite(outputGradient);

    /// <summary>d_t' V_q[x_t] at every position.</summary>
    public override Tensor ByPosition(Tensor[] queries)
    {
        using var scope = NewDisposeScope();
        var place = tokens.reshape(-1); // [B*T]
        var d = outputGradient.reshape(-1, Width); // [B*T, D]
        var products = new List<Tensor>();
        for (long q = 0; q < queries[0].shape[0]; q++)
        {
            products.Add((queries[0].select(0, q).reshape(vocabulary, Width).index_select(0, place) * d).sum(1));
        }

        return stack([.. products], 0).reshape(-1, Examples, tokens.shape[1]).MoveToOuterDisposeScope();
    }

    public override Tensor SquaredNorms()
    {
        var (example, _, sums) = Pairs();
        var norms = zeros([Examples], outputGradient.dtype, outputGradient.device);
        norms.index_add_(0, example, sums.Squared().sum(1), Kept(1));
        return norms;
    }

    protected override Tensor[] MakeDense() =>
        [Rows(arange(Kept(0), Kept(vocabulary), Kept(1), ScalarType.Int64, tokens.device), vocabulary)];
}
