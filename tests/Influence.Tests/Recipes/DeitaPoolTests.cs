using Influence.Estimators;
using Influence.Recipes;
using Influence.Scorers;
using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>RDS+ and DEITA with what the library takes where no delegate is given.</summary>
public class DeitaPoolTests
{
    /// <summary>The hidden states that are found are those that a delegate would give: what the last linear layer reads.</summary>
    [Fact]
    public void HiddenStatesAreWhatTheLastLinearLayerReads()
    {
        using var scope = NewDisposeScope();
        var (model, first, train, queries) = Sequences();
        var task = Task(model);
        var state = ModelState.Of(model, train);
        Tensor Hidden(ExampleBatch b) => first.call(b["x"]).tanh();
        var (examples, asked) = (Of(train), Of(queries));
        using var expected = new RdsPlus(Hidden).Score(task, examples, asked);
        using var found = new RdsPlus().Score(task, examples, asked);
        Assert.True(found.Values.allclose(expected.Values, rtol: 1e-12));

        // The embeddings' products are the scores.
        using var own = new RdsPlus().Embed(task, examples);
        using var others = new RdsPlus(Hidden).Embed(task, asked);
        Assert.True(others.mm(own.t()).allclose(expected.Values, rtol: 1e-10));
        state.AssertUnchanged(model, train);
        using var nothing = nn.Sequential(("norm", nn.LayerNorm(4))).to(float64);
        InfluenceTask without = new(nothing) { TrainingLoss = b => nothing.call(b["x"]).mean([1L, 2L]) };
        Assert.Contains(
            "nn.Linear",
            Assert.Throws<InfluenceException>(() => new RdsPlus().Embed(without, examples)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void TheDefaultsAreLossAndAgreementWithTheReference()
    {
        using var scope = NewDisposeScope();
        var (model, _, train, queries) = Sequences();
        var task = Task(model);
        var examples = Of(train);
        using var pool = new DeitaPool().Make(task, examples, Of(queries));
        var losses = new ExampleLosses().Score(task, examples).Values;
        using var cosines = new TracIn
        {
            Similarity = TracIn.GradientSimilarity.Cosine,
            Aggregation = InfluenceFunction.QueryAggregation.Mean,
        }.Score(task, examples, Of(queries));
        var cosine = cosines.ForQuery(0).Values;
        var rows = pool.Scores!.to_type(ScalarType.Float64);
        for (var i = 0; i < examples.Count; i++)
        {
            Assert.Equal(losses[i], rows[0, i].item<double>(), 12);
            Assert.Equal(cosine.Count(other => other < cosine[i]) / (double)examples.Count, rows[1, i].item<double>(), 12);
        }

        Assert.Equal(
            3,
            new Deita { MaximumSimilarity = 1 }
                .Select(pool, SelectionBudget.Count(3))
                .Count
        );
        using var rated = new DeitaPool
        {
            Complexity = new ExpectedRating(b => zeros(b.Count, 6)),
            Quality = new ExpectedRating(b => zeros(b.Count, 6)),
        }.Make(task, examples);
        Assert.True(rated.Scores!.eq(3.5).all().item<bool>());
        Assert.Contains(
            "reference",
            Assert.Throws<InfluenceException>(() => new DeitaPool().Make(task, examples)).Message,
            StringComparison.Ordinal
        );
    }

    private static InfluenceTask Task(Composite model) => new(model) { TrainingLoss = b => model.call(b["x"]).pow(2).mean([1L, 2L]) };

    private static Examples Of(Tensor x) => Examples.FromTensors(("x", x)) with { BatchSize = 3 };

    private static (Composite Model, TorchSharp.Modules.Linear First, Tensor Train, Tensor Queries) Sequences()
    {
        random.manual_seed(7);
        var (first, head) = (nn.Linear(4, 5, dtype: float64), nn.Linear(5, 2, dtype: float64));
        var model = new Composite(x => head.call(first.call(x).tanh()), ("in", first), ("out", head));
        model.eval();
        return (model, first, randn(8, 6, 4, ScalarType.Float64), randn(4, 6, 4, ScalarType.Float64));
    }
}
