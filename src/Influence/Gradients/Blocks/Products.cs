using TorchSharp;
using static Influence.Numerics.KeptNumber;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>The contractions themselves; each adds the products of Q queries with B training examples to <c>[Q, B]</c>.</summary>
internal static class Products
{
    /// <summary>sum over t, t' of (a_t . a_t')(d_t . d_t'), the ghost product; with a bias it is one more input of a, or, where the queries
    /// were kept without it, a one that is added to a_t . a_t'.</summary>
    public static void AddGhost(
        Tensor products,
        Tensor queryA,
        Tensor queryD,
        FactoredGradients train,
        long examplesAtOnce,
        ProductArithmetic arithmetic
    )
    {
        var (q, tq) = (queryA.shape[0], queryA.shape[1]);
        var addsOne = train.Bias && queryA.shape[2] == train.Inputs;
        var activation = train.Bias && !addsOne ? train.ActivationWithBias() : train.Activation;
        examplesAtOnce = Math.Min(examplesAtOnce, Pieces.Of((double)q * tq * train.Positions, train.Examples));
        for (long start = 0; start < train.Examples; start += examplesAtOnce)
        {
            using var scope = NewDisposeScope();
            var b = Math.Min(examplesAtOnce, train.Examples - start);
            var a = activation.narrow(0, start, b); // [b, T, I (+1)]
            var d = train.OutputGradient.narrow(0, start, b); // [b, T, O]
            AddGhost(products.narrow(1, start, b), queryA, queryD, a, d, arithmetic, addsOne);
        }
    }

    /// <summary>The ghost products of factors that lie ready, all of them at once.</summary>
    /// <param name="products"><c>[Q, B]</c>.</param>
    /// <param name="queryA"><c>[Q, T, I]</c>.</param>
    /// <param name="queryD"><c>[Q, T, O]</c>.</param>
    /// <param name="a"><c>[B, T', I]</c>.</param>
    /// <param name="d"><c>[B, T', O]</c>.</param>
    /// <param name="arithmetic">How matrix products are reckoned.</param>
    /// <param name="addsOne">A bias is one more input, of one, on both sides.</param>
    public static void AddGhost(
        Tensor products,
        Tensor queryA,
        Tensor queryD,
        Tensor a,
        Tensor d,
        ProductArithmetic arithmetic,
        bool addsOne = false
    )
    {
        var aa = Gram(queryA, a); // [Q*T, B*T']
        if (addsOne)
        {
            aa.add_(Kept(1));
        }

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

    /// <summary>One matrix product per parameter, G_q [Q, P] times G [B, P] transposed.</summary>
    public static void AddDense(Tensor products, Tensor[] queries, Tensor[] train, ProductArithmetic? arithmetic = null)
    {
        for (var p = 0; p < queries.Length; p++)
        {
            using var scope = NewDisposeScope();
            (arithmetic ?? ProductArithmetic.Own).AddProduct(products, queries[p], train[p].t());
        }
    }

    /// <summary>sum over t of d_t' (G_q a_t), with the training examples left as factors: the response of some queries to some examples at
    /// a
    /// time.</summary>
    public static void AddFactored(Tensor products, Tensor[] queries, FactoredGradients train, ProductArithmetic arithmetic)
    {
        var (q, b, t) = (queries[0].shape[0], train.Examples, train.Positions);
        var perPair = (double)train.Outputs * t;
        var examples = Pieces.Of(perPair, b);
        var atOnce = Pieces.Of(perPair * examples, q);
        var (made, gradient) = (train.Activation, train.OutputGradient); // kept by the block: not made in a scope of this call's
        using var whole = NewDisposeScope();
        var activation = arithmetic.Rounded(made);
        for (long row = 0; row < q; row += atOnce)
        {
            using var scope = NewDisposeScope();
            var rows = Math.Min(atOnce, q - row);
            var weights = arithmetic.Rounded(queries[0].narrow(0, row, rows).reshape(rows * train.Outputs, train.Inputs)); // [q*O, I]
            for (long first = 0; first < b; first += examples)
            {
                using var piece = NewDisposeScope();
                var count = Math.Min(examples, b - first);
                var a = activation.narrow(0, first, count).reshape(count * t, train.Inputs); // [b*T, I]
                var d = gradient.narrow(0, first, count).reshape(count * t, train.Outputs).t().unsqueeze(0); // [1, O, b*T]
                var response = arithmetic.Product(weights, a.t(), products.dtype).reshape(rows, train.Outputs, count * t); // [q, O, b*T]
                products.narrow(0, row, rows).narrow(1, first, count).add_(response.mul_(d).sum(1).reshape(rows, count, t).sum(2));
            }
        }

        if (train.Bias)
        {
            arithmetic.AddProduct(products, queries[1], train.OutputGradient.sum(1).t());
        }
    }

    /// <summary>Embedding rows: only the rows that occur in the training batch can meet.</summary>
    public static void AddRows(Tensor products, Tensor queryTokens, Tensor queryD, TokenGradients train, long rowsAtOnce)
    {
        var distinct = train.DistinctTokens(); // [U]
        var queries = new TokenGradients(queryTokens, queryD, train.Vocabulary);
        for (long start = 0; start < distinct.shape[0]; start += rowsAtOnce)
        {
            using var scope = NewDisposeScope();
            var rows = Math.Min(rowsAtOnce, distinct.shape[0] - start);
            var rowOf = full([train.Vocabulary], Kept(rows), ScalarType.Int64, distinct.device);
            rowOf.index_copy_(0, distinct.narrow(0, start, rows), arange(Kept(0), Kept(rows), Kept(1), ScalarType.Int64, distinct.device));
            AddDense(products, [queries.Rows(rowOf, rows)], [train.Rows(rowOf, rows)]);
        }
    }

    /// <summary>Written-out tables of queries with an embedding's examples, sum over t of d_t' V_q[x_t]: only rows that occur are
    /// read.</summary>
    public static void AddTable(Tensor products, Tensor queries, TokenGradients train)
    {
        var place = train.Tokens.reshape(-1); // [B*T]
        var d = train.OutputGradient.reshape(-1, train.Width); // [B*T, D]
        for (long q = 0; q < queries.shape[0]; q++)
        {
            using var scope = NewDisposeScope();
            var rows = queries.select(0, q).reshape(train.Vocabulary, train.Width).index_select(0, place);
            products.select(0, q).add_(rows.mul_(d).reshape(train.Examples, -1).sum(1));
        }
    }
}
