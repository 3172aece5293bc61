using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Means over checkpoints and models, and the choice of a damping.</summary>
public class EnsembleTests
{
    [Fact]
    public void CheckpointsAreAveragedAndTheModelIsAsBefore()
    {
        torch.random.manual_seed(3);
        using var folder = new TempFolder();
        using var model = new TinyDecoder();
        using var scope = NewDisposeScope();
        var (train, queries) = (TinyDecoder.Sequences(5), TinyDecoder.Sequences(2));
        var first = Checkpoint.Save(folder.Path("a.safetensors"), model, 0.1, step: 1);
        using var alone = Score(model, train, queries);
        using (no_grad())
        {
            foreach (var parameter in model.parameters())
            {
                parameter.mul_(1.3);
            }
        }

        var second = Checkpoint.Save(folder.Path("b.safetensors"), model, 0.1, step: 2);
        using var other = Score(model, train, queries);
        var before = model.state_dict().ToDictionary(p => p.Key, p => p.Value.clone());

        using var mean = new InfluenceEnsemble(task => Ekfac.Fit(task, train)) { Checkpoints = [first, second] }.Score(
            model.Task(),
            train,
            queries
        );
        Assert.True(SingleExampleLoop.RelativeError(mean.Values, (alone.Values + other.Values) / 2) < 1e-12);
        Assert.True(model.state_dict().All(p => p.Value.eq(before[p.Key]).all().item<bool>()));
        Assert.Contains("step 1", mean.Metadata.Checkpoints, StringComparison.Ordinal);

        using var models = new InfluenceEnsemble(task => Ekfac.Fit(task, train)) { OtherModels = [model.Task()] }.Score(
            model.Task(),
            train,
            queries
        );
        Assert.True(SingleExampleLoop.RelativeError(models.Values, other.Values) < 1e-12);
        Assert.Throws<InfluenceException>(() => new InfluenceEnsemble(task => Ekfac.Fit(task, train)) { Checkpoints = [] });
    }

    [Fact]
    public void TheBestDampingIsFoundOnSomeQueries()
    {
        torch.random.manual_seed(4);
        using var model = new TinyDecoder();
        using var scope = NewDisposeScope();
        var (train, queries) = (TinyDecoder.Sequences(6), TinyDecoder.Sequences(10));
        using var fit = Ekfac.Fit(model.Task(), train);
        var target = new DampingSearch().Candidates[5];
        using var truth = new InfluenceFunction(fit) { Damping = target }.Score(model.Task(), train, queries);

        var curve = new DampingSearch { HeldOut = 0.3 }.Run(new InfluenceFunction(fit), model.Task(), train, queries, Closeness);

        Assert.Equal(target, curve.Best);
        Assert.Equal(3, curve.HeldOutIds.Count);
        Assert.Equal(queries.Ids, curve.HeldOutIds.Concat(curve.RemainingIds).Order());
        Assert.Equal(13, curve.Points.Count);
        Assert.Contains("<-", curve.ToString(), StringComparison.Ordinal);
        Assert.Equal(
            curve.HeldOutIds,
            new DampingSearch { HeldOut = 0.3 }
                .Run(new InfluenceFunction(fit), model.Task(), train, queries, Closeness)
                .HeldOutIds
        );
        Assert.Throws<InfluenceException>(() =>
            new DampingSearch().Run(new InfluenceFunction(fit), model.Task(), train, queries, _ => double.NaN)
        );

        double Closeness(InfluenceScores scores)
        {
            using var inner = NewDisposeScope();
            var rows = stack([.. scores.QueryIds.Select(id => truth.Values[truth.RowOf(id)])], 0);
            return -(scores.Values - rows).norm().item<double>();
        }
    }

    [Fact]
    public void OnlyPicksExamplesById()
    {
        using var scope = NewDisposeScope();
        var x = arange(0, 10, 1, ScalarType.Float64).unsqueeze(1);
        var examples = Examples.FromTensors(("x", x)) with
        {
            BatchSize = 4,
            Ids = [.. Enumerable.Range(0, 10).Select(i => (long)(100 + i))],
        };
        var picked = examples.Only([109, 101, 105]);
        Assert.Equal([101, 105, 109], picked.Ids);
        var values = new List<double>();
        foreach (var batch in picked.Batches())
        {
            values.AddRange(batch["x"].data<double>().ToArray());
        }

        Assert.Equal([1.0, 5, 9], values);
        Assert.Contains("7", Assert.Throws<InfluenceException>(() => examples.Only([7])).Message, StringComparison.Ordinal);
    }

    private static InfluenceScores Score(TinyDecoder model, Examples train, Examples queries)
    {
        using var fit = Ekfac.Fit(model.Task(), train);
        return new InfluenceFunction(fit).Score(model.Task(), train, queries);
    }
}
