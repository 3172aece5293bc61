using Influence.Selection;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Selecting;

/// <summary>Examples around a thousand centres in 64 dimensions, with scores for 16 targets that depend on the centre and on
/// chance.</summary>
internal sealed class SyntheticPool : IDisposable
{
    public const int Dimensions = 64;
    public const int Targets = 16;
    private const int Centres = 1000;

    private readonly double[] _means;

    public SyntheticPool(int count)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(17);
        var centres = randn([Centres, Dimensions], generator: generator); // [c, d]
        var worth = randn([Centres, Targets], generator: generator); // [c, V]
        var which = randint(0, Centres, [count], ScalarType.Int64, generator: generator); // [N]
        var features = centres.index_select(0, which).add_(randn([count, Dimensions], generator: generator)); // [N, d]
        var scores = worth.index_select(0, which).add_(randn([count, Targets], generator: generator)).t().contiguous(); // [V, N]
        long[] ids = [.. Enumerable.Range(0, count).Select(i => (long)i)];
        _means = scores.mean([0L], type: ScalarType.Float64).data<double>().ToArray();
        using var values = new InfluenceScores(
            scores,
            [.. Enumerable.Range(0, Targets).Select(q => (long)q)],
            ids,
            new ScoreMetadata { Estimator = "synthetic", Unit = "none" }
        );
        Pool = new SelectionPool(values) { Features = features };
    }

    public SelectionPool Pool { get; }

    /// <summary>What a bandit measures.</summary>
    public IReadOnlyList<double> Measure(IReadOnlyList<long> ids) => [.. ids.Select(id => _means[id])];

    public void Dispose() => Pool.Dispose();
}
