using Influence.Curvature;
using Influence.Estimators;
using Influence.Groups;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.GpuTests;

/// <summary>For every kind of layer: TracIn, EK-FAC and sums by group on a device equal those on the CPU in float64.</summary>
internal static class LayerChecks
{
    public static IEnumerable<Check> All(Device device)
    {
        foreach (var layer in LayerModels.Names)
        {
            foreach (var (dtype, tolerance, inverse) in new[] { (ScalarType.Float32, 1e-4, 1e-3), (ScalarType.Float64, 1e-9, 1e-8) })
            {
                Check Of(string what, double allowed, Func<LayerCase, Tensor> scores) =>
                    new($"{layer}, {dtype}: {what}", () => Compare(layer, dtype, device, allowed, scores));

                yield return Of("TracIn, all pairs", tolerance, c => Pairs(c, new TracIn().Score));
                yield return Of("TracIn, self-influence", tolerance, c => Values(new TracIn().SelfInfluence(c.Task, c.Train)));
                yield return Of("TracIn, groups", tolerance, c => Groups(c, new GroupInfluence(new TracIn())));
                yield return Of("EK-FAC, all pairs", inverse, c => Fitted(c, f => Pairs(c, f.Score)));
                yield return Of("EK-FAC, self-influence", inverse, c => Fitted(c, f => Values(f.SelfInfluence(c.Task, c.Train))));
                yield return Of("EK-FAC, groups", inverse, c => Fitted(c, f => Groups(c, new GroupInfluence(f))));
            }
        }
    }

    private delegate InfluenceScores Scoring(
        InfluenceTask task,
        Examples train,
        Examples queries,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    );

    private static void Compare(string layer, ScalarType dtype, Device device, double tolerance, Func<LayerCase, Tensor> scores)
    {
        using var reference = LayerCase.Create(layer, ScalarType.Float64, CPU);
        using var onDevice = LayerCase.Create(layer, dtype, device);
        using var scope = NewDisposeScope();
        Require.Close(scores(onDevice), scores(reference), tolerance);
    }

    private static Tensor Fitted(LayerCase layer, Func<InfluenceFunction, Tensor> scores)
    {
        using var curvature = Ekfac.Fit(layer.Task, layer.Train, new Ekfac.Options { Fisher = Fisher.Empirical });
        return scores(new InfluenceFunction(curvature) { Tolerance = 0 });
    }

    private static Tensor Pairs(LayerCase layer, Scoring score)
    {
        using var scores = score(layer.Task, layer.Train, layer.Queries);
        return scores.Values.clone();
    }

    private static Tensor Groups(LayerCase layer, GroupInfluence influence)
    {
        var groups = ExampleGroups.Of([.. Enumerable.Range(0, LayerCase.TrainCount).Select(id => (long)id)], id => id < 3 ? "a" : "b");
        var scores = influence.Score(layer.Task, layer.Train, groups, layer.Queries);
        return tensor(
            Enumerable.Range(0, LayerCase.QueryCount).SelectMany(q => Enumerable.Range(0, 2).Select(g => scores.Sum(q, g))).ToArray()
        );
    }

    private static Tensor Values(ExampleScores scores) => tensor(scores.Values.ToArray());
}
