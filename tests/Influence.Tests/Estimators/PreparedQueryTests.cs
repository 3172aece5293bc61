using Influence.Curvature;
using Influence.Estimators;
using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>A query that is taken once: the same scores, at the cost of the examples that are asked for.</summary>
public sealed class PreparedQueryTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>In any order and in any parts; the bound is rounding in float64.</summary>
    [Theory]
    [InlineData(InfluenceFunction.QueryAggregation.Mean, InfluenceFunction.ScoreNormalization.None)]
    [InlineData(InfluenceFunction.QueryAggregation.Sum, InfluenceFunction.ScoreNormalization.None)]
    [InlineData(InfluenceFunction.QueryAggregation.Mean, InfluenceFunction.ScoreNormalization.Theta)]
    [InlineData(InfluenceFunction.QueryAggregation.Mean, InfluenceFunction.ScoreNormalization.Loss)]
    public void GivesTheScoresOfAll(InfluenceFunction.QueryAggregation aggregation, InfluenceFunction.ScoreNormalization normalization)
    {
        using var data = new Classifier(train: 23);
        using var ekfac = Ekfac.Fit(data.Task(), data.Train);
        var influence = new InfluenceFunction(ekfac)
        {
            Aggregation = aggregation,
            Normalization = normalization,
            Tolerance = 0,
        };
        var train = data.Train with { BatchSize = 5, Ids = [.. Enumerable.Range(0, 23).Select(i => 100L - i)] };
        using var all = influence.Score(data.Task(), train, data.Queries);
        var expected = all.ForQuery(0);
        using (var prepared = influence.Prepare(data.Task(), train, data.Queries))
        {
            Assert.Empty(prepared.Score([]));
            foreach (var part in train.Ids.OrderBy(id => id * 7 % 11).Chunk(4))
            {
                var found = prepared.Score(part);
                Assert.All(
                    part.Zip(found),
                    pair => Assert.Equal(expected[100 - (int)pair.First], pair.Second, 1e-9 * Math.Max(1, Math.Abs(pair.Second)))
                );
            }

            Assert.Equal(23, prepared.Scored);
        }

        using var after = influence.Score(data.Task(), train, data.Queries);
        Assert.True(after.Values.allclose(all.Values, 1e-12));
    }

    [Fact]
    public void HoldsTheModelAndGivesItBack()
    {
        using var data = new Classifier();
        using var ekfac = Ekfac.Fit(data.Task(), data.Train);
        var influence = new InfluenceFunction(ekfac) { Aggregation = InfluenceFunction.QueryAggregation.Mean };
        var prepared = influence.Prepare(data.Task(), data.Train, data.Queries);
        Fails(
            "a prepared query is open",
            () => influence.Score(data.Task(), data.Train, data.Queries).Dispose(),
            StringComparison.OrdinalIgnoreCase
        );
        Fails("repeat", () => prepared.Score([1, 1]));
        Fails("No example has the id 99", () => prepared.Score([99]));
        using (no_grad())
        {
            data.Head.weight!.add_(0.1);
        }

        Fails("weights changed", () => prepared.Score([1]));
        prepared.Dispose();
        prepared.Dispose();
        Assert.Throws<ObjectDisposedException>(() => prepared.Score([1]));
        Assert.All(data.Model.parameters(), p => Assert.True(p.requires_grad));
        new TracIn().Score(data.Task(), data.Train, data.Queries).Dispose();

        static void Fails(string part, Action act, StringComparison comparison = StringComparison.Ordinal) =>
            Assert.Contains(part, Assert.Throws<InfluenceException>(act).Message, comparison);
    }

    /// <summary>
    /// A query that is prepared in another model's loss delegate outlives the preparation. That delegate is the caller's code all the
    /// same: a call on the other model is refused there, while the query is open and when it was disposed there.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void PreparedWithinAnotherModelsLossTheGuardStays(bool disposedThere)
    {
        using var data = new Classifier();
        using var other = new Classifier();
        using var ekfac = Ekfac.Fit(data.Task(), data.Train);
        var influence = new InfluenceFunction(ekfac) { Aggregation = InfluenceFunction.QueryAggregation.Mean };
        InfluenceFunction.PreparedQuery? prepared = null;
        InfluenceException? refused = null;
        var inner = other.Task();
        var outer = new InfluenceTask(other.Model)
        {
            TrainingLoss = b =>
            {
                if (prepared is null)
                {
                    prepared = influence.Prepare(data.Task(), data.Train, data.Queries);
                    prepared.Score([1, 2]);
                    if (disposedThere)
                    {
                        prepared.Dispose();
                    }

                    refused = Record.Exception(() => new TracIn().Score(inner, other.Train, other.Queries).Dispose()) as InfluenceException;
                }

                return inner.TrainingLoss(b);
            },
        };
        using var scores = new TracIn().Score(outer, other.Train, other.Queries);
        using var expected = new TracIn().Score(inner, other.Train, other.Queries);
        Assert.Contains("Another call is running", refused?.Message, StringComparison.Ordinal);
        Assert.True(scores.Values.allclose(expected.Values, 1e-12));
        Assert.Equal(!disposedThere, Record.Exception(() => prepared!.Score([1])) is null);
        prepared!.Dispose();
        new TracIn().Score(data.Task(), data.Train, data.Queries).Dispose();
    }

    [Fact]
    public void SeveralQueriesNeedAnAggregation()
    {
        using var data = new Classifier();
        using var ekfac = Ekfac.Fit(data.Task(), data.Train);
        var thrown = Assert.Throws<InfluenceException>(() => new InfluenceFunction(ekfac).Prepare(data.Task(), data.Train, data.Queries));
        Assert.Contains("Aggregation", thrown.Message, StringComparison.Ordinal);
        using var all = new InfluenceFunction(ekfac) { Tolerance = 0 }.Score(data.Task(), data.Train, data.Queries.Only([2]));
        using var one = new InfluenceFunction(ekfac).Prepare(data.Task(), data.Train, data.Queries.Only([2]));
        Assert.Equal(all.ForQuery(0)[3], one.Score([3])[0], 1e-9);
    }

    /// <summary>Counted in examples that go through the model, with those of the checks and of the reference: Quad measures 17 percent of
    /// the pool and pays less than 25 percent of measuring all.</summary>
    [Fact]
    public void QuadPaysForWhatItMeasures()
    {
        random.manual_seed(3);
        var (seen, passes) = (0L, 0);
        var head = nn.Linear(4, 3, dtype: float64);
        var model = new Composite(
            x =>
            {
                seen += x.shape[0];
                passes++;
                return head.call(x);
            },
            ("head", head)
        );
        const int n = 1000;
        var (x, y) = (randn([n, 4], float64), randint(0, 3, [n]));
        var train = Examples.FromTensors(("x", x), ("y", y)) with { BatchSize = 20 };
        var reference = Examples.FromTensors(("x", randn([40, 4], float64)), ("y", randint(0, 3, [40]))) with { BatchSize = 20 };
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        using var ekfac = Ekfac.Fit(task, train);
        var influence = new InfluenceFunction(ekfac) { Aggregation = InfluenceFunction.QueryAggregation.Mean };
        using var pool = new SelectionPool(train.Ids) { Groups = ExampleGroups.Of(train.Ids, id => $"{id % 25}") };

        seen = 0;
        influence.Score(task, train, reference).Dispose();
        var all = seen;
        seen = 0;
        long measured;
        using (var oracle = influence.Prepare(task, train, reference))
        {
            new Quad
            {
                Oracle = oracle.Score,
                Probes = 4,
                MaximumMeasured = 0.17,
                Threshold = double.MaxValue,
            }.Select(pool, SelectionBudget.Fraction(0.1));
            measured = oracle.Scored;
        }

        var paid = seen;

        // Six examples from all over the pool are one pass, with at most two by which a batch is checked.
        using (var oracle = influence.Prepare(task, train, reference))
        {
            oracle.Score([4, 901, 206, 412, 78, 641]);
            passes = 0;
            oracle.Score([3, 900, 205, 411, 77, 640]);
            Assert.InRange(passes, 1, 3);
        }

        Assert.InRange(measured, 160, 170);
        Assert.True(paid < 0.25 * all, $"{paid} examples went through the model, and {all} for all scores");
    }
}
