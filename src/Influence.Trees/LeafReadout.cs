namespace Influence.Trees;

/// <summary>From leaf values to the queries' losses.</summary>
internal sealed class LeafReadout
{
    private readonly TreeWork _work;
    private readonly int[][] _leaves;

    public LeafReadout(LeafFit fit, TreeWork work)
    {
        _work = work;

        // A query's leaves side by side: all trees are read for one query.
        var leaves = work.Pairs ? LeafFit.LeavesOf(work.Model, work.Queries, work.Token) : fit.Leaves;
        _leaves = [.. Enumerable.Range(0, work.Queries.Count).Select(q => Array.ConvertAll(leaves, tree => tree[q]))];
    }

    public double[] Losses(double[] initial, double[][] values)
    {
        var raw = new double[initial.Length];
        return
        [
            .. Enumerable
                .Range(0, _leaves.Length)
                .Select(q =>
                {
                    Sum(q, initial, values, raw);
                    return _work.Model.LossFunction.Value(raw, _work.Queries.TargetArray[q]);
                }),
        ];
    }

    /// <summary>Adds the rise of the loss to the scores of a training example.</summary>
    public void Add(int example, double[] before, double[] initial, double[][] values)
    {
        Span<double> raw = stackalloc double[initial.Length];
        var (first, end) = _work.QueriesOf(example);
        for (var q = first; q < end; q++)
        {
            Sum(q, initial, values, raw);
            _work.At(q, example) = _work.Model.LossFunction.Value(raw, _work.Queries.TargetArray[q]) - before[q];
        }
    }

    public void Sum(int query, ReadOnlySpan<double> initial, double[][] values, Span<double> raw)
    {
        initial.CopyTo(raw);
        var own = _leaves[query];
        for (var t = 0; t < values.Length; t++)
        {
            raw[t % raw.Length] += values[t][own[t]];
        }
    }
}
