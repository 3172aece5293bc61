using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>
/// A table of positions that is called without an example axis, on texts whose batches have lengths of their own: queries are shorter than
/// training examples. It is taken by its rule in the fit and in the scores alike.
/// </summary>
public class PositionsOfOtherLengthsTests
{
    /// <summary>Float64; the two ways differ in the order of a few sums.</summary>
    private const double Rounding = 1e-10;

    [Fact]
    public void AFitOnLongTextsServesShortQueries()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var tokens = nn.Embedding(9, 6, dtype: float64);
        var positions = nn.Embedding(8, 6, dtype: float64);
        var head = nn.Linear(6, 3, dtype: float64);
        var withAxis = false;
        using var model = new Composite(
            x =>
            {
                var places = arange(x.shape[1]);
                places = withAxis ? places.unsqueeze(0).expand(x.shape[0], -1) : places;
                return head.call((tokens.call(x) + positions.call(places)).tanh().mean([1]));
            },
            ("tokens", tokens),
            ("positions", positions),
            ("head", head)
        );
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var train = Texts((5, 7), (5, 6));
        var queries = Texts((3, 4));

        using var fit = Ekfac.Fit(task, train, new() { Fisher = Fisher.Empirical });
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, train, queries);
        var coverage = task.Coverage(train);
        withAxis = true;
        using var fitWithAxis = Ekfac.Fit(task, train, new() { Fisher = Fisher.Empirical });
        using var expected = new InfluenceFunction(fitWithAxis) { Tolerance = 0 }.Score(task, train, queries);

        Assert.StartsWith(
            "Coverage 100.0%: 123 parameters by layer rules, 0 by single examples",
            coverage.ToString(),
            StringComparison.Ordinal
        );
        foreach (var q in Enumerable.Range(0, 3))
        {
            Assert.All(Enumerable.Range(0, 10), t => Assert.Equal(expected[q, t], scores[q, t], Rounding));
        }
    }

    private static Examples Texts(params (int Count, int Length)[] batches) =>
        Examples.FromBatches(
            batches
                .Select(b => new Dictionary<string, Tensor>
                {
                    ["x"] = randint(0, 9, [b.Count, b.Length]),
                    ["y"] = randint(0, 3, [b.Count]),
                })
                .ToList()
        );
}
