using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// The per-example gradients of one block of parameters (a layer's weight with its bias, say) for one batch, in the form
/// that the layer allows. Its tensors live in the batch's dispose scope. What is asked of a block is a method here, which
/// writes the gradients out; a kind that knows a cheaper way overrides it.
/// </summary>
internal abstract class BlockGradients(long examples)
{
    private Tensor[]? _dense;

    /// <summary>The number of examples, B.</summary>
    public long Examples { get; } = examples;

    /// <summary>
    /// Whether the gradients are those of single examples, in the form that the layer's own have: products with them are right, but
    /// their factors are not what the layer saw.
    /// </summary>
    public bool IsSubstitute { get; init; }

    /// <summary>
    /// The gradients written out, one part a parameter: <c>[B, P_k]</c> in the parameter's row-major order. Made once.
    /// </summary>
    public Tensor[] Dense() => _dense ??= MakeDense();

    /// <summary>Whether a bias takes part beside the weight.</summary>
    public virtual bool HasBias => Dense().Length > 1;

    /// <summary>The sizes of the factors; null where there are none.</summary>
    public virtual FactorShape? Shape => null;

    /// <summary>The contraction that queries of this kind always take; null where the cheapest is chosen.</summary>
    public virtual Contraction? OwnContraction => null;

    /// <summary>The squared L2 norm of each example's gradient, <c>[B]</c>.</summary>
    public virtual Tensor SquaredNorms() => SquaredNorms(Dense());

    /// <summary>The same, float64 <c>[B]</c>, right also where it is small: factors go to float64 first, because their products
    /// cancel.</summary>
    public virtual Tensor PreciseSquaredNorms() => SquaredNorms().to_type(ScalarType.Float64);

    /// <summary>sum over i of w_i g_i, one part a parameter, <c>[P_k]</c>.</summary>
    /// <param name="weights">w, <c>[B]</c>; null for ones.</param>
    /// <param name="chosen">The examples whose weight is not zero, int64, where leaving the others out saves work; else null.</param>
    public virtual Tensor[] Sum(Tensor? weights = null, Tensor? chosen = null) => Sum(Dense(), weights);

    /// <summary>sum over i of g_i^2, element by element, one part a parameter, <c>[P_k]</c>.</summary>
    public virtual Tensor[] SumOfSquares() => [.. Dense().Select(part => part.Squared().sum(0L))];

    /// <summary>Adds the products with written-out queries to <c>[Q, B]</c>.</summary>
    /// <param name="products"><c>[Q, B]</c>.</param>
    /// <param name="queries">One part a parameter, <c>[Q, P_k]</c>.</param>
    /// <param name="arithmetic">How matrix products are reckoned; null: in the numbers' own type.</param>
    public virtual void AddProducts(Tensor products, Tensor[] queries, ProductArithmetic? arithmetic = null) =>
        Products.AddDense(products, queries, Dense(), arithmetic);

    /// <summary>The same with these gradients written out, where nothing else will ask for them written.</summary>
    /// <param name="products"><c>[Q, B]</c>.</param>
    /// <param name="queries">One part a parameter, <c>[Q, P_k]</c>.</param>
    /// <param name="arithmetic">How matrix products are reckoned.</param>
    public virtual void AddWrittenProducts(Tensor products, Tensor[] queries, ProductArithmetic arithmetic) =>
        Products.AddDense(products, queries, Dense(), arithmetic);

    /// <summary>Copies of the factors of queries that this contraction keeps as they are; null where it wants them written out.</summary>
    public virtual QueryFactors? FactorsFor(Contraction contraction) => null;

    /// <summary>Adds the products with queries that were kept as factors to <c>[Q, B]</c>.</summary>
    /// <param name="products"><c>[Q, B]</c>.</param>
    /// <param name="queries">What <see cref="FactorsFor"/> gave of the same block.</param>
    /// <param name="planner">How much may be written out at once.</param>
    /// <param name="arithmetic">How matrix products are reckoned.</param>
    public virtual void AddFactorProducts(
        Tensor products,
        QueryFactors queries,
        ContractionPlanner planner,
        ProductArithmetic arithmetic
    ) => throw new NotSupportedException("This block has no factors for the queries' factors to meet.");

    /// <summary>Adds g_i . g_j to <c>[B, B]</c> where that is cheapest without writing gradients out.</summary>
    /// <returns>False, with nothing added, where it is not.</returns>
    public virtual bool TryAddGram(Tensor products, ContractionPlanner planner) => false;

    /// <summary>
    /// The products g_v . g_i with every one of V other examples, <c>[V, B]</c>, where that costs less than the product with their
    /// written-out sum; else null.
    /// </summary>
    public virtual Tensor? CheapPairs(BlockGradients others) => null;

    /// <summary>A copy that outlives the batch; it multiplies as this does, in the same form where that is known.</summary>
    /// <param name="scope">What its tensors go to.</param>
    public virtual BlockGradients Copy(DisposeScope scope)
    {
        Tensor[] parts = [.. Dense().Select(part => part.clone())];
        scope.Attach(parts);
        return new DenseGradients(Examples, () => [.. parts.Select(part => part.alias())]);
    }

    /// <summary>How many numbers one example takes in <see cref="Copy"/>.</summary>
    public virtual double NumbersToCopy => DenseSize;

    /// <summary>The product g_i . h_i of each example's gradient with that of the same place among others, <c>[B]</c>, in the current
    /// scope.</summary>
    /// <param name="others">As many gradients of the same block.</param>
    public virtual Tensor MatchedProducts(BlockGradients others)
    {
        // What is written out is kept: it is made outside of this scope.
        var (own, other) = (Dense(), others.Dense());
        using var scope = NewDisposeScope();
        var total = zeros([Examples], own[0].dtype, own[0].device);
        foreach (var (a, b) in own.Zip(other))
        {
            total.add_((a * b).sum(1));
        }

        return total.MoveToOuterDisposeScope();
    }

    /// <summary>
    /// Adds each parameter of an example to one of k columns, with a sign, <c>[B, k]</c>: a sparse projection.
    /// </summary>
    /// <param name="rows"><c>[B, k]</c>.</param>
    /// <param name="columns">For each part the parameters' columns, int64 <c>[P_k]</c>, and their signs; null for no sign.</param>
    public virtual void AddSketch(Tensor rows, (Tensor Column, Tensor? Sign)[] columns)
    {
        var parts = Dense();
        for (var p = 0; p < columns.Length; p++)
        {
            using var one = NewDisposeScope();
            var signed = columns[p].Sign is { } sign ? parts[p] * sign : parts[p]; // [B, P_p]
            using Scalar once = Kept(1);
            rows.index_add_(1, columns[p].Column, signed, once);
        }
    }

    /// <summary>Adds the projection of each example's gradient to its row, part by part.</summary>
    /// <param name="rows"><c>[B, K]</c>.</param>
    /// <param name="projections">One a part.</param>
    public virtual void AddProjected(Tensor rows, PartProjection[] projections)
    {
        foreach (var (projection, part) in projections.Zip(Dense()))
        {
            projection.AddWritten(rows, part);
        }
    }

    /// <summary>The gradients of one of the parameters alone; views, valid as long as this is not released.</summary>
    public virtual BlockGradients Part(int part) => new DenseGradients(Examples, () => [Dense()[part].alias()]);

    /// <summary>Bool <c>[B]</c>, true for examples whose gradient holds NaN or infinity; null where there are none.</summary>
    public virtual Tensor? NotFinite() => NotFinite(Dense());

    /// <summary>Whether one example's gradient is better written out, where its norm and the sum of all are wanted.</summary>
    public virtual bool WritingIsCheaper => true;

    /// <summary>Whether the gradients of some examples are those that the batch gave them; statistics of a batch are not those of its
    /// parts.</summary>
    public virtual bool CanBeCut => false;

    /// <summary>How many numbers one example takes at most while products are formed.</summary>
    public virtual double NumbersAtWork => DenseSize;

    /// <summary>How many numbers one query takes while it is kept for a contraction.</summary>
    public virtual double NumbersKept(Contraction contraction) => DenseSize;

    /// <summary>How many numbers one example takes while a norm is formed or the gradient is written out; 1 where that is little, or it is
    /// there already.</summary>
    /// <param name="parameters">P.</param>
    public virtual double NumbersToWrite(double parameters) => 1;

    /// <summary>How many numbers one example takes in <see cref="AddSketch"/>: written out, and once more with signs.</summary>
    /// <param name="parameters">P.</param>
    public virtual double NumbersToSketch(double parameters) => 2 * parameters;

    /// <summary>How many numbers one example takes in <see cref="AddProjected"/>: written out, and the two sides after each
    /// other.</summary>
    /// <param name="projections">One a part.</param>
    public virtual double NumbersToProject(PartProjection[] projections)
    {
        var parameters = projections.Sum(p => (double)p.Outputs * p.Inputs);
        return Math.Max(NumbersToWrite(parameters), 1) + (3 * parameters);
    }

    /// <summary>The number of positions that the gradient is a sum over, where they are the examples' own; else null.</summary>
    public virtual long? OwnPositions => null;

    /// <summary>
    /// The products with written-out queries, position by position, <c>[Q, B, T]</c>; they sum to the whole product. Only where
    /// <see cref="OwnPositions"/> is known.
    /// </summary>
    /// <param name="queries">One part a parameter, <c>[Q, P_k]</c>.</param>
    public virtual Tensor ByPosition(Tensor[] queries) =>
        throw new NotSupportedException("This block is not a sum over the examples' positions.");

    /// <summary>The outputs of the layer, also where its factors have changed places; null where there are none.</summary>
    public virtual long? LayerOutputs => Shape?.Outputs;

    /// <summary>
    /// d and a of every example where the gradient is their sum of outer products and a matrix of these sizes, without a column of the
    /// bias; else null.
    /// </summary>
    public virtual (Tensor OutputGradient, Tensor Activation)? SidesFor(long outputs, long inputs) => null;

    /// <summary>The squared norm of each example's gradient and of what it is made of, <c>[B]</c>: not finite where something is too large
    /// to be squared.</summary>
    public virtual Tensor SquaredSizes() => SquaredNorms();

    /// <summary>The inputs of the linear layers, position by position, <c>[R, I]</c>, zero where they do not count, and how many do; none
    /// where there are no factors.</summary>
    public virtual IEnumerable<(Tensor Activation, double Positions)> CountedInputs() => [];

    /// <summary>Q_G' G Q_A of every example and group of channels, <c>[B, g, O/g, I']</c>.</summary>
    /// <param name="input">Q_A of every group, <c>[g, I', I']</c>.</param>
    /// <param name="output">Q_G of every group, <c>[g, O/g, O/g]</c>.</param>
    public virtual Tensor GroupedSpectrum(Tensor input, Tensor output)
    {
        // What is written out is kept: it is made outside of this scope.
        var parts = Dense();
        using var scope = NewDisposeScope();
        var weight = parts[0].reshape(Examples, output.shape[0], output.shape[1], -1); // [B, g, O/g, I]
        var whole = parts.Length == 1 ? weight : cat([weight, parts[1].reshape([.. weight.shape[..3], 1])], 3);
        return einsum("gop,bgoi,gij->bgpj", output, whole, input).MoveToOuterDisposeScope();
    }

    /// <summary>What the layer may be to a table that several layers share.</summary>
    public virtual TableUse TableUse => TableUse.None;

    /// <summary>The sizes of the head's factors, where these are gradients of a table that is embedding and head at once, and nothing else;
    /// else null.</summary>
    public virtual FactorShape? HeadOfTable => null;

    /// <summary>Adds sum over i of R(G_i)^2 to <c>[V, D]</c>, float64: the gradients as tables, R a rotation of their rows.</summary>
    /// <param name="sums"><c>[V, D]</c>, float64.</param>
    /// <param name="rotate">R, of <c>[..., D]</c>.</param>
    /// <param name="numbersAtOnce">How many numbers may be written out at once where only some examples need be.</param>
    public virtual void AddTableSquares(Tensor sums, Func<Tensor, Tensor> rotate, long numbersAtOnce)
    {
        // What is written out is kept: it is made outside of this scope.
        var written = Dense()[0];
        using var scope = NewDisposeScope();
        var table = written.reshape(Examples, sums.shape[0], sums.shape[1]); // [B, V, D]
        sums.add_(rotate(table).Squared().sum(0L).to_type(ScalarType.Float64));
    }

    /// <summary>sum over v, d of F[v, d] R(G_i)[v, d]^2 of every example, <c>[B]</c>.</summary>
    /// <param name="weights">F, <c>[V, D]</c>.</param>
    /// <param name="rotate">R, a rotation of the table's rows.</param>
    public virtual Tensor WeightedTableSquares(Tensor weights, Func<Tensor, Tensor> rotate)
    {
        var written = Dense()[0];
        using var scope = NewDisposeScope();
        var table = rotate(written.reshape(Examples, weights.shape[0], weights.shape[1]));
        return (table.Squared() * weights).sum(1, 2).MoveToOuterDisposeScope();
    }

    /// <summary>B(F[v, d] R(G)[v, d]) in a form without the table, where this kind has one; else null.</summary>
    /// <param name="weights">F, <c>[V, D]</c>.</param>
    /// <param name="rotate">R, a rotation of the table's rows.</param>
    /// <param name="rotateBack">B.</param>
    public virtual BlockGradients? ScaledTable(Tensor weights, Func<Tensor, Tensor> rotate, Func<Tensor, Tensor> rotateBack) => null;

    /// <summary>
    /// Rotates once, in the current scope, and gives what adds the rotated tables of <c>count</c> examples from <c>start</c> on to those of
    /// other layers: from a sum <c>[count, V, D]</c>, or null, to the new one.
    /// </summary>
    /// <param name="rotate">A rotation of the table's rows.</param>
    /// <param name="rows">V.</param>
    public virtual Func<Tensor?, long, long, Tensor> RotatedTables(Func<Tensor, Tensor> rotate, long rows)
    {
        var tables = rotate(Dense()[0].reshape(Examples, rows, -1)); // [B, V, D]
        return (sum, start, count) => sum is null ? tables.narrow(0, start, count).clone() : sum.add_(tables.narrow(0, start, count));
    }

    /// <summary>Drops everything that was made and kept; it is made anew when it is asked for again.</summary>
    public virtual void Release()
    {
        foreach (var part in _dense ?? [])
        {
            part.Dispose();
        }

        _dense = null;
    }

    protected abstract Tensor[] MakeDense();

    /// <summary>P where it is known before the gradients are written out; null: read from them.</summary>
    public double? Size { private get; init; }

    /// <summary>P.</summary>
    protected double DenseSize => Size ?? Dense().Sum(part => (double)part.shape[1]);

    /// <summary>The weighted sum of written-out gradients, one part a parameter, <c>[P_k]</c>.</summary>
    public static Tensor[] Sum(Tensor[] dense, Tensor? weights) =>
        [.. dense.Select(part => weights is null ? part.sum(0L) : weights.unsqueeze(0).mm(part).squeeze(0))];

    /// <summary>The same from what a gradient cannot be finite without, <c>[B, ...]</c> each.</summary>
    protected static Tensor? NotFinite(params Tensor[] values)
    {
        using var scope = NewDisposeScope();
        return values.Any(FiniteProducts.AnyNotFinite)
            ? values
                .Select(v => v.isfinite().flatten(1).all(1))
                .Aggregate((a, b) => a.logical_and(b))
                .logical_not()
                .MoveToOuterDisposeScope()
            : null;
    }

    /// <summary>Squared norms of the rows of all parts, <c>[B]</c>, without a temporary of their size.</summary>
    public static Tensor SquaredNorms(Tensor[] dense)
    {
        var total = RowNorms(dense[0]);
        for (var k = 1; k < dense.Length; k++)
        {
            total.add_(RowNorms(dense[k]));
        }

        return total;

        static Tensor RowNorms(Tensor rows) => linalg.vector_norm(rows, 2, [1]).pow_(Kept(2));
    }
}
