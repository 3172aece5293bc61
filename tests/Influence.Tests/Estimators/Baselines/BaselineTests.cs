using Influence.Estimators;
using Influence.Tests.Contracts;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Baselines against published figures, brute force and loops.</summary>
public class BaselineTests
{
    private static readonly string[] s_texts = ["the cat sat", "the dog sat down", "cat cat food"];

    [Fact]
    public void Bm25OfTheWorkedExample()
    {
        using var c = new Classifier(train: 3, queries: 2);
        using var scores = new Bm25(id => s_texts[id], id => id == 0 ? "Cat, FOOD! food a" : "nothing").Score(c.Task(), c.Train, c.Queries);
        Assert.Equal([0.492150, 0, 1.720779], Enumerable.Range(0, 3).Select(i => Math.Round(scores[0, i], 6)));
        Assert.Equal([0, 0, 0], Enumerable.Range(0, 3).Select(i => scores[1, i]));
        using var split = new Bm25(id => s_texts[id], _ => "cat food")
        {
            K1 = 0,
            B = 0,
            Words = t => t.Split(' '),
        }.Score(c.Task(), c.Train, c.Queries);

        // Without k1 the sum of the idf of shared words: cat is in two of three, food in one.
        Assert.Equal(Math.Log(1 + (1.5 / 2.5)) + Math.Log(1 + (2.5 / 1.5)), split[0, 2], 12);
        Assert.Equal(Math.Log(1 + (1.5 / 2.5)), split[0, 0], 12);
        using var empty = new Bm25(_ => string.Empty, _ => "cat").Score(c.Task(), c.Train, c.Queries);
        Assert.Equal(0, empty[0, 0]);
        var missing = Assert.Throws<InfluenceException>(() =>
            new Bm25(id => id == 2 ? null! : "x", _ => "x").Score(c.Task(), c.Train, c.Queries)
        );
        Assert.Equal([2L], missing.ExampleIds);
        Assert.Throws<InfluenceException>(() => new Bm25(_ => "x", _ => "x") { B = 1.1 });
    }

    [Fact]
    public void CosinesAreThoseOfALoop()
    {
        using var c = new Classifier();
        using var scores = new EmbeddingSimilarity(b => c.Hidden.call(b["x"])).Score(c.Task(), c.Train with { BatchSize = 4 }, c.Queries);
        using var scope = NewDisposeScope();
        var (own, wanted) = (Rows(c.Hidden.call(c.X)), Rows(c.Hidden.call(c.QueryX)));
        for (var q = 0; q < wanted.Length; q++)
        {
            for (var i = 0; i < own.Length; i++)
            {
                var dot = own[i].Zip(wanted[q], (a, b) => a * b).Sum();
                Assert.Equal(dot / Math.Sqrt(own[i].Sum(a => a * a) * wanted[q].Sum(a => a * a)), scores[q, i], 12);
            }
        }

        var zero = Assert.Throws<InfluenceException>(() =>
            new EmbeddingSimilarity(b => b["x"] * b["x"].select(1, 0).ne(c.X[3, 0]).unsqueeze(1)).Score(c.Task(), c.Train, c.Queries)
        );
        Assert.Equal([3L], zero.ExampleIds);
        Assert.Contains(
            "[B, d]",
            Assert.Throws<InfluenceException>(() => new EmbeddingSimilarity(b => b["y"]).Score(c.Task(), c.Train, c.Queries)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void KnnShapleyOfThePublishedCases()
    {
        Assert.Equal([0.25, -0.25, 0.25, 0.25, 0], KnnShapley.Values([true, false, true, true, false], 2));
        Assert.Equal([0.2, 0, 0.2], KnnShapley.Values([true, false, true], 5).Select(v => Math.Round(v, 12)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(9)]
    public void KnnShapleyIsTheShapleyValueByAllSubsets(int k)
    {
        const int Count = 7;
        using var c = new Classifier(train: Count, queries: 5);
        using var scores = new KnnShapley(b => b["x"], b => b["y"]) { K = k }.Score(c.Task(), c.Train with { BatchSize = 3 }, c.Queries);
        using var scope = NewDisposeScope();
        var (own, wanted) = (Rows(c.X), Rows(c.QueryX));
        long[] labels = [.. c.Y.data<long>().ToArray()];
        long[] queryLabels = [.. c.QueryY.data<long>().ToArray()];
        for (var q = 0; q < wanted.Length; q++)
        {
            double Worth(int subset) =>
                Enumerable
                    .Range(0, Count)
                    .Where(i => (subset & (1 << i)) != 0)
                    .OrderBy(i => own[i].Zip(wanted[q], (a, b) => (a - b) * (a - b)).Sum())
                    .Take(k)
                    .Count(i => labels[i] == queryLabels[q]) / (double)k;

            for (var i = 0; i < Count; i++)
            {
                var value = 0.0;
                for (var subset = 0; subset < 1 << Count; subset++)
                {
                    if ((subset & (1 << i)) == 0)
                    {
                        var size = int.PopCount(subset);
                        value +=
                            Factorial(size) * Factorial(Count - size - 1) / Factorial(Count) * (Worth(subset | (1 << i)) - Worth(subset));
                    }
                }

                Assert.Equal(value, scores[q, i], 12);
            }

            Assert.Equal(Worth((1 << Count) - 1), scores.ForQuery(q).Values.Sum(), 12);
        }

        static double Factorial(int n) => n < 2 ? 1 : n * Factorial(n - 1);
    }

    [Fact]
    public void EquallyFarExamplesGoByPosition()
    {
        using var c = new Classifier(train: 4, queries: 1);
        using var labels = tensor(new long[] { 1, 0, 1, 1 });
        using var one = tensor(new long[] { 1 });
        var train = Examples.FromTensors(("x", c.X), ("y", labels));
        var queries = Examples.FromTensors(("x", c.QueryX), ("y", one));
        using var scores = new KnnShapley(b => ones_like(b["x"]), b => b["y"]) { K = 2 }.Score(c.Task(), train, queries);
        Assert.Equal(KnnShapley.Values([true, false, true, true], 2), scores.ForQuery(0).Values);
        Assert.Contains(
            "whole numbers",
            Assert.Throws<InfluenceException>(() => new KnnShapley(b => b["x"], b => b["x"]).Score(c.Task(), train, queries)).Message,
            StringComparison.Ordinal
        );
    }

    private static double[][] Rows(Tensor values)
    {
        using var flat = values.detach().contiguous();
        double[] all = [.. flat.data<double>().ToArray()];
        var width = (int)values.shape[1];
        return [.. Enumerable.Range(0, (int)values.shape[0]).Select(i => all[(i * width)..((i + 1) * width)])];
    }
}

public sealed class EmbeddingSimilarityContract : PairEstimatorContract
{
    internal override IPairEstimator Estimator() => new EmbeddingSimilarity(b => C.Hidden.call(b["x"]));
}

public sealed class KnnShapleyContract : PairEstimatorContract
{
    internal override IPairEstimator Estimator() => new KnnShapley(b => C.Hidden.call(b["x"]), b => b["y"]) { K = 3 };
}
