using TorchSharp;
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
        var first = arange(0, b, 1, ScalarType.Int64, tokens.device).mul_(rows + 1).unsqueeze(1);    // [B, 1]
        var place = rowOf.index_select(0, tokens.reshape(-1)).reshape(b, t).add_(first);             // [B, T]
        var sums = zeros([b * (rows + 1), d], outputGradient.dtype, outputGradient.device);
        sums.index_add_(0, place.reshape(-1), outputGradient.reshape(-1, d), 1);
        return sums.reshape(b, rows + 1, d).narrow(1, 0, rows).reshape(b, rows * d);
    }

    /// <summary>
    /// One row for each pair of an example and a token that occurs in it: the examples' positions in the batch <c>[U]</c>, the
    /// tokens <c>[U]</c>, and the pairs' gradients <c>[U, D]</c>.
    /// </summary>
    public (Tensor Example, Tensor Token, Tensor Sums) Pairs()
    {
        var example = arange(0, Examples, 1, ScalarType.Int64, tokens.device).unsqueeze(1);          // [B, 1]
        var (pairs, place, _) = (tokens + (example * vocabulary)).reshape(-1).unique(return_inverse: true);
        var sums = zeros([pairs.shape[0], Width], outputGradient.dtype, outputGradient.device);
        sums.index_add_(0, place!, outputGradient.reshape(-1, Width), 1);
        return (pairs.floor_divide(vocabulary), pairs.remainder(vocabulary), sums);
    }

    /// <summary>Whether the positions are the examples' own, and not those of several calls.</summary>
    public bool PositionsLead { get; init; }

    public override long? OwnPositions => PositionsLead ? tokens.shape[1] : null;

    /// <summary>d_t' V_q[x_t] at every position.</summary>
    public override Tensor ByPosition(Tensor[] queries)
    {
        using var scope = NewDisposeScope();
        var place = tokens.reshape(-1);                                                 // [B*T]
        var d = outputGradient.reshape(-1, Width);                                      // [B*T, D]
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
        norms.index_add_(0, example, sums.square().sum(1), 1);
        return norms;
    }

    protected override Tensor[] MakeDense() =>
        [Rows(arange(0, vocabulary, 1, ScalarType.Int64, tokens.device), vocabulary)];
}
