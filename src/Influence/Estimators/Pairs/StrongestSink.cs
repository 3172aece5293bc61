using Influence.Gradients;
using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Keeps each query's k highest and k lowest scores, in memory Q k. Ties go to the lowest position.</summary>
/// <param name="k">How many of each.</param>
internal sealed class StrongestSink(int k) : ScoreSink, IStrongestPairs
{
    private KStrongest[] _highest = [];
    private KStrongest[] _lowest = [];

    public int K => k;

    public StrongestExamples Finish(ScoreMetadata metadata)
    {
        CheckComplete();
        return new StrongestExamples(
            QueryIds,
            TrainIds.Count,
            [.. _highest.Select(kept => Named(kept, 1))],
            [.. _lowest.Select(kept => Named(kept, -1))],
            metadata
        );

        (long Id, double Score)[] Named(KStrongest strongest, int sign) =>
            [.. strongest.Kept.Select(example => (TrainIds[example.Position], sign * example.Score))];
    }

    public (double Highest, double Lowest) BoundsOf(int query) => (_highest[query].Least, -_lowest[query].Least);

    public void Offer(int query, ReadOnlySpan<long> columns, ReadOnlySpan<double> scores)
    {
        for (var i = 0; i < scores.Length; i++)
        {
            _highest[query].Offer(scores[i], (int)columns[i]);
            _lowest[query].Offer(-scores[i], (int)columns[i]);
        }
    }

    public void Complete(int query, int train, int count) => LeaveOut(query, count);

    protected override void Start()
    {
        _highest = [.. QueryIds.Select(_ => new KStrongest(k))];
        _lowest = [.. QueryIds.Select(_ => new KStrongest(k))];
    }

    protected override void Take(int query, int train, Tensor values)
    {
        Merge(_highest, query, train, values);
        Merge(_lowest, query, train, values.neg());
    }

    private void Merge(KStrongest[] kept, int query, int train, Tensor values)
    {
        using var scope = NewDisposeScope();
        var wanted = Wanted(kept, query, values); // [q, b]
        if (!wanted.any().item<bool>())
        {
            return;
        }

        var places = wanted.nonzero().data<long>().ToArray(); // [M, 2], row by row, ascending
        var scores = values.masked_select(wanted).to_type(ScalarType.Float64).data<double>().ToArray(); // [M]
        for (var i = 0; i < scores.Length; i++)
        {
            kept[query + places[2 * i]].Offer(scores[i], train + (int)places[(2 * i) + 1]);
        }
    }

    /// <summary>The scores that may be among the k highest; a few more than that, and no tie of them is lost.</summary>
    private Tensor Wanted(KStrongest[] kept, int query, Tensor values)
    {
        var (rows, columns) = (values.shape[0], values.shape[1]);
        if (!kept[query].IsFull)
        {
            return Highest();
        }

        // What only equals the last one kept comes after it.
        // [q, 1]
        var last = tensor(Enumerable.Range(query, (int)rows).Select(q => kept[q].Least).ToArray()).to_type(Dtype).unsqueeze(1);
        var higher = values.gt(last);
        return higher.sum().item<long>() > 2 * k * rows ? higher.logical_and_(Highest()) : higher;

        Tensor Highest() => columns <= k ? ones_like(values, ScalarType.Bool) : values.ge(values.topk(k, 1).Item1.narrow(1, k - 1, 1));
    }
}
