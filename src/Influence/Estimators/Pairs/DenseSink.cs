using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>Keeps every score, <c>[Q, N]</c>.</summary>
internal sealed class DenseSink : ScoreSink
{
    private Tensor? _values;

    /// <summary>All at once: the room is there anyway.</summary>
    public override int ExamplesAtOnce(int queries, int train) => train;

    /// <summary>The scores; they belong to the result from here.</summary>
    public InfluenceScores Finish(ScoreMetadata metadata)
    {
        CheckComplete();
        var values = _values!;
        _values = null;
        return new InfluenceScores(values, QueryIds, TrainIds, metadata);
    }

    protected override void Take(int query, int train, Tensor values)
    {
        if (values.shape[0] == QueryIds.Count && values.shape[1] == TrainIds.Count)
        {
            _values = values.alias().DetachFromDisposeScope(); // [Q, N], not copied
            return;
        }

        _values ??= zeros([QueryIds.Count, TrainIds.Count], Dtype).DetachFromDisposeScope();
        _values.narrow(0, query, values.shape[0]).narrow(1, train, values.shape[1]).copy_(values);
    }

    protected override void Dispose(bool disposing)
    {
        _values?.Dispose();
        base.Dispose(disposing);
    }
}
