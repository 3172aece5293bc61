using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Cosines of layer inputs against loops over single examples.</summary>
public class ActivationSimilarityTests
{
    private static readonly int[] s_lengths = [4, 2, 3, 1, 4];

    [Fact]
    public void OfAClassifier()
    {
        using var c = new Classifier();
        using var scope = NewDisposeScope();
        using var scores = new ActivationSimilarity().Score(c.Task(), c.Train with { BatchSize = 4 }, c.Queries);
        using var head = new ActivationSimilarity().Score(
            c.Task() with
            {
                Layers = LayerSelection.Where(n => n.StartsWith("head.", StringComparison.Ordinal)),
            },
            c.Train,
            c.Queries
        );
        using var last = new ActivationSimilarity().Score(c.Task() with { Layers = LayerSelection.Last }, c.Train, c.Queries);
        for (var q = 0; q < 4; q++)
        {
            for (var i = 0; i < 11; i++)
            {
                double[][] own = [Row(c.X[i]), Row(c.Hidden.call(c.X[i]).tanh())],
                    wanted = [Row(c.QueryX[q]), Row(c.Hidden.call(c.QueryX[q]).tanh())];
                Assert.Equal((Cosine(own[0], wanted[0]) + Cosine(own[1], wanted[1])) / 2, scores[q, i], 12);
                Assert.Equal(Cosine(own[1], wanted[1]), head[q, i], 12);
                Assert.Equal(Cosine(own[1], wanted[1]), last[q, i], 12);
            }
        }
    }

    [Fact]
    public void OfSequencesWithPadding()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(3);
        var (table, hidden, head) = (nn.Embedding(7, 5, dtype: float64), nn.Linear(5, 6, dtype: float64), nn.Linear(6, 3, dtype: float64));

        using var model = new Composite(
            x => head.call(hidden.call(table.call(x)).tanh()),
            ("table", table),
            ("hidden", hidden),
            ("head", head)
        );
        model.eval();
        var mask = stack([.. s_lengths.Select(length => arange(4).lt(length))], 0);
        var (tokens, tags) = (randint(0, 7, [5, 4]), randint(0, 3, [5, 4]));
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["tokens"]), b["tags"]),
            PositionMask = b => b["mask"],
        };
        var examples = Examples.FromTensors(("tokens", tokens), ("tags", tags), ("mask", mask));

        using var scores = new ActivationSimilarity().Score(task, examples with { BatchSize = 2 }, examples);

        for (var q = 0; q < 5; q++)
        {
            for (var i = 0; i < 5; i++)
            {
                var (own, wanted) = (Pooled(i), Pooled(q));
                Assert.Equal((Cosine(own[0], wanted[0]) + Cosine(own[1], wanted[1])) / 2, scores[q, i], 12);
            }
        }

        double[][] Pooled(int i)
        {
            var seen = table.call(tokens[i, ..s_lengths[i]]);
            return [Row(seen.mean([0L])), Row(hidden.call(seen).tanh().mean([0L]))];
        }

        var wrong = task with { PositionMask = b => ones([b.Count, 3], ScalarType.Bool) };
        Assert.Contains(
            "3 positions",
            Assert.Throws<InfluenceException>(() => new ActivationSimilarity().Score(wrong, examples, examples)).Message,
            StringComparison.Ordinal
        );
        GC.KeepAlive((table, hidden, head));
    }

    /// <summary>A layer that is called twice: the mean is over both calls; after a failed call the model has no hook left.</summary>
    [Fact]
    public void OfALayerThatIsCalledTwiceAndOfMistakes()
    {
        using var c = new Classifier();
        using var scope = NewDisposeScope();
        var task = c.Task(b => Losses.CrossEntropy(c.Model.call(b["x"]) + c.Model.call(b["x"].exp()), b["y"])) with
        {
            Layers = LayerSelection.Where(n => n == "hidden.weight"),
        };
        using var scores = new ActivationSimilarity().Score(task, c.Train, c.Queries);
        Assert.Equal(Cosine(Row(c.X[2] + c.X[2].exp()), Row(c.QueryX[1] + c.QueryX[1].exp())), scores[1, 2], 12);

        var merged = c.Task(b => Losses.CrossEntropy(c.Model.call(cat([b["x"], b["x"]], 0)).narrow(0, 0, b.Count), b["y"]));
        Assert.Contains("[B, ..., I] is expected", Refused(merged), StringComparison.Ordinal);
        Assert.Contains(
            "no nn.Linear",
            Refused(c.Task() with { Layers = LayerSelection.Where(n => n == "head.bias") }),
            StringComparison.Ordinal
        );
        var zero = c.Task(b =>
            Losses.CrossEntropy(c.Hidden.call(b["x"] * b["x"].select(1, 0).ne(c.X[3, 0]).unsqueeze(1)).narrow(1, 0, 3), b["y"])
        );
        Assert.Equal([3L], Assert.Throws<InfluenceException>(() => new ActivationSimilarity().Score(zero, c.Train, c.Queries)).ExampleIds);
        Assert.Equal([2L * Classifier.Features, Classifier.Classes], c.Model.call(cat([c.X, c.X], 0)).narrow(0, 0, 8).shape);

        string Refused(InfluenceTask bad) =>
            Assert.Throws<InfluenceException>(() => new ActivationSimilarity().Score(bad, c.Train, c.Queries)).Message;
    }

    private static double[] Row(Tensor row) => row.detach().contiguous().data<double>().ToArray();

    private static double Cosine(double[] a, double[] b) =>
        a.Zip(b, (x, y) => x * y).Sum() / Math.Sqrt(a.Sum(x => x * x) * b.Sum(x => x * x));
}
