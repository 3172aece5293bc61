using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Numerics;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

/// <summary>
/// The work of calls, counted and not timed: examples that are captured, multiply-adds of the products, bytes of what is made. Whoever
/// makes
/// a call pass over its data once more, or form its products in a dearer way, sees it here.
/// </summary>
public sealed class CountedWorkTests : IDisposable
{
    private const int Train = 24;
    private const int Queries = 6;
    private const int Element = 8;

    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>Plain factors meet in pairs, Q (I + O) an example and layer; of the outputs' gradients O numbers an example are
    /// made.</summary>
    [Fact]
    public void PairsOfAPerceptron()
    {
        using var c = new Classifier(Train, Queries);
        var pass = Watched(() => new TracIn().Score(c.Task(), c.Train with { BatchSize = 8 }, c.Queries).Dispose());

        Assert.Equal(Queries, Examples(pass.Of("query pass"), "capture forward"));
        Assert.Equal(Train, Examples(pass.Of("training pass"), "capture forward"));
        Assert.Equal(Train, Examples(pass.Of("training pass"), "capture backward"));
        Assert.Equal(Train * (6 + 3) * Element, Bytes(pass.Of("training pass"), "capture backward"));
        Assert.All(Contractions(pass), one => Assert.Equal(nameof(Contraction.Ghost), one.Span.Form));
        Assert.Equal(Train * Queries * (4 + 6 + 6 + 3), Contractions(pass).Sum(MultiplyAdds));

        // Each layer's products are added to one table of all pairs.
        Assert.Equal(Queries * Train * Element * 2, Bytes(pass.Of("training pass"), "contraction"));
    }

    /// <summary>With positions each layer takes the form that the count says is cheapest, and no dearer one.</summary>
    [Theory]
    [InlineData(2, 3, 9, 12)] // few positions, large weights: pairs of positions
    [InlineData(6, 6, 2, 2)] // many positions, small weights: written out
    public void PairsOfAConvolution(int height, int width, int channels, int outputs)
    {
        var (conv, head) = (
            nn.Conv2d(channels, outputs, 3, padding: 1, dtype: float64),
            nn.Linear(outputs * height * width, 3, dtype: float64)
        );
        var model = new Composite(x => head.call(conv.call(x).tanh().flatten(1)), ("conv", conv), ("head", head));
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var train = Data(Train);
        var queries = Data(Queries);
        var pass = Watched(() => new TracIn().Score(task, train, queries).Dispose());

        Assert.Equal(Train, Examples(pass.Of("training pass"), "capture forward"));
        var (t, i, o) = ((long)(height * width), 9L * channels, (long)outputs);
        var costs = new Dictionary<string, double>
        {
            [nameof(Contraction.Ghost)] = ContractionCost.Ghost(Queries, t, t, i, o),
            [nameof(Contraction.Dense)] = ContractionCost.Dense(Queries, t, i, o),
            [nameof(Contraction.Factored)] = ContractionCost.Factored(Queries, t, i, o),
        };
        var conved = Assert.Single(Contractions(pass), one => one.Span.Shape.Positions == t);
        Assert.Equal(Train, conved.Examples);
        Assert.Equal(new FactorShape(t, i, o, true), conved.Span.Shape);
        Assert.Equal(costs.MinBy(pair => pair.Value).Key, conved.Span.Form);

        Examples Data(int count) =>
            Influence.Examples.FromTensors(
                ("x", randn([count, channels, height, width], dtype: float64)),
                ("y", randint(0, 3, [count]))
            ) with
            {
                BatchSize = 8,
            };
    }

    /// <summary>Norms take one pass over the examples, and I + O an example and layer.</summary>
    [Fact]
    public void SelfInfluenceOfAPerceptron()
    {
        using var c = new Classifier(Train, Queries);
        var pass = Watched(() => new TracIn().SelfInfluence(c.Task(), c.Train));

        Assert.Equal(Train, Examples(pass.Of("training pass"), "capture forward"));
        Assert.Equal(Train * (4 + 6 + 6 + 3), Contractions(pass).Sum(MultiplyAdds));
        Assert.All(Contractions(pass), one => Assert.Equal(ContractionSpan.Norms, one.Span.Form));
    }

    /// <summary>A second call on the same task, data and weights makes no more passes than the first, and tries its plan on a
    /// handful.</summary>
    [Fact]
    public void TheSameCallAgain()
    {
        using var c = new Classifier(Train, Queries);
        var task = c.Task();
        Watched(() => new TracIn().SelfInfluence(task, c.Train));
        var again = Watched(() => new TracIn().SelfInfluence(task, c.Train));

        Assert.InRange(Examples(again.Of("audit"), "capture forward"), 1, 4);
        Assert.Equal(Train, Examples(again.Of("training pass"), "capture forward"));
        Assert.DoesNotContain(All(again), tally => tally.Name is "check: rows" or "whole audit");
    }

    /// <summary>A fit passes over its examples as often as its estimate says.</summary>
    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    [InlineData("diagonal Fisher")]
    public void PassesOfAFit(string method)
    {
        var (layer, head) = (nn.Linear(4, 5, dtype: float64), nn.Linear(5, 3, dtype: float64));
        var model = new Composite(x => head.call(layer.call(x).tanh().mean([1L])), ("layer", layer), ("head", head));
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var train = Influence.Examples.FromTensors(("x", randn(Train, 3, 4, dtype: float64)), ("y", randint(0, 3, [Train])));
        var estimate = Tests.Curvature.LayerwiseMethods.Estimate(method, task, train);
        var pass = Watched(() => Tests.Curvature.LayerwiseMethods.Fit(method, task, train).Dispose());

        var captured = new[] { "first pass", "second pass" }.Sum(stage => Examples(pass.Of(stage), "capture forward"));
        Assert.Equal(estimate.Passes * Train, captured);
    }

    /// <summary>Writes through views and detached tensors count, of whole numbers too; reads do not.</summary>
    [Fact]
    public void WritesAreCounted()
    {
        var (x, y) = (randn(4, 3), zeros(4, ScalarType.Int64));
        Tensor[] seen = [x.detach(), y.alias(), x.narrow(0, 1, 2)];
        var before = WriteCounts.Of(seen)!;
        _ = x.sum() + y.sum();
        Assert.Equal(before, WriteCounts.Of(seen));

        x.narrow(0, 0, 1).add_(x.narrow(0, 1, 1));
        Assert.Equal([before[0] + 1, before[1], before[2] + 1], WriteCounts.Of(seen)!);
        y.copy_(y.clone());
        Assert.Equal([before[0] + 1, before[1] + 1, before[2] + 1], WriteCounts.Of(seen)!);
        Assert.Empty(WriteCounts.Of([])!);
        using var mode = inference_mode();
        Assert.Null(WriteCounts.Of([randn(2)]));
    }

    [Fact]
    public void SpansNest()
    {
        var now = 0.0;
        Assert.False(Spans.AreWatched);
        Spans.Of("nobody watches").Dispose();
        Spans.Tally root;
        using (var spans = Spans.Watch(() => now))
        {
            root = spans.Root;
            now = 1;
            for (var k = 0; k < 2; k++)
            {
                using (Spans.Of("outer", examples: 3))
                {
                    now += 2;
                    using (Spans.Of("inner", detail: 7))
                    {
                        now += 5;
                    }

                    now += 10;
                }
            }
        }

        Assert.False(Spans.AreWatched);
        Assert.Equal(1, root.Seconds);
        var outer = Assert.Single(root.Within);
        Assert.Equal((24.0, 2, 6L), (outer.Seconds, outer.Calls, outer.Examples));
        var inner = Assert.Single(outer.Within);
        Assert.Equal((10.0, 2, (object)7), (inner.Seconds, inner.Calls, inner.Detail));
        Assert.Equal(35, root.SecondsInAll);
    }

    private static Spans.Tally Watched(Action call)
    {
        using var spans = Spans.Watch(() => 0);
        call();
        return spans.Root;
    }

    private static IEnumerable<Spans.Tally> All(Spans.Tally tally) => tally.Within.SelectMany(All).Prepend(tally);

    private static long Examples(Spans.Tally within, string name) => All(within).Where(one => one.Name == name).Sum(one => one.Examples);

    private static long Bytes(Spans.Tally within, string name) => All(within).Where(one => one.Name == name).Sum(one => one.Bytes);

    private static List<(ContractionSpan Span, long Examples)> Contractions(Spans.Tally tally) =>
        [.. All(tally).Where(one => one.Detail is ContractionSpan).Select(one => ((ContractionSpan)one.Detail!, one.Examples))];

    /// <summary>Of pairs and norms of factors with one position.</summary>
    private static double MultiplyAdds((ContractionSpan Span, long Examples) one) =>
        one.Examples * (double)one.Span.Queries * (one.Span.Shape.Inputs + one.Span.Shape.Outputs);
}
