using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

/// <summary>Batches of the user's own making, each padded to its longest text.</summary>
public sealed class OwnBatchesTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Composite _model;
    private readonly long[][] _texts;
    private readonly long[] _labels;

    public OwnBatchesTests()
    {
        random.manual_seed(2);
        var (embedding, head) = (nn.Embedding(9, 4, dtype: float64), nn.Linear(4, 3, dtype: float64));
        _model = new Composite(
            x =>
            {
                var real = x.ne(0).unsqueeze(2).to_type(float64);
                return head.call((embedding.call(x).tanh() * real).sum(1) / real.sum(1));
            },
            ("embedding", embedding),
            ("head", head)
        );
        _model.eval();
        var draws = new Random(4);
        _texts =
        [
            .. Enumerable.Range(0, 10).Select(i => Enumerable.Range(0, 1 + (i * 3 % 7)).Select(_ => draws.NextInt64(1, 9)).ToArray()),
        ];
        _labels = [.. _texts.Select(_ => draws.NextInt64(3))];
    }

    public void Dispose() => _scope.Dispose();

    [Theory]
    [InlineData("dictionaries")]
    [InlineData("lists")]
    [InlineData("batches")]
    public void AreScoredLikeOnePaddedTensor(string form)
    {
        using var scope = NewDisposeScope();
        var whole = Padded(0, _texts.Length);
        var expected = Scores(
            Examples.FromTensors(("0", whole.X), ("1", whole.Y)) with
            {
                Ids = [.. Enumerable.Range(0, 10).Select(i => 100L + i)],
            }
        );
        var examples = form switch
        {
            "dictionaries" => Examples.FromBatches(
                Batches()
                    .Select(b => new Dictionary<string, Tensor>
                    {
                        ["0"] = b.X,
                        ["1"] = b.Y,
                        ["ids"] = b.Ids,
                    }),
                b => b["ids"].data<long>().ToArray()
            ),
            "lists" => Examples.FromBatches(Batches().Select(b => new List<Tensor> { b.X, b.Y, b.Ids }), b => b[2].data<long>().ToArray()),
            _ => Examples.FromBatches(Batches().Select(b => ExampleBatch.Of(b.Ids.data<long>().ToArray(), ("0", b.X), ("1", b.Y)))),
        };

        Assert.Equal(Enumerable.Range(0, 10).Select(i => 100L + i), examples.Ids);
        Assert.True(SingleExampleLoop.RelativeError(Scores(examples), expected) < 1e-10);
        Assert.Equal(10, Examples.FromBatches(Batches().Select(b => new[] { b.X, b.Y })).Ids.Count);
    }

    [Theory]
    [InlineData("once", "enumerated only once")]
    [InlineData("values", "other values")]
    [InlineData("order", "other ids")]
    [InlineData("repeated", "ids that repeat: 7")]
    [InlineData("none", "are empty")]
    [InlineData("count", "2 ids for batch 0")]
    [InlineData("rows", "\"1\" [2]")]
    [InlineData("null", "null, disposed")]
    public void WhatCannotBeToldApartIsRefused(string what, string message)
    {
        using var scope = NewDisposeScope();
        var pass = 0;
        IEnumerable<Tensor[]> Changing()
        {
            pass++;
            var batches = Batches().Select(b => new[] { b.X, b.Y, b.Ids }).ToList();
            switch (what)
            {
                case "once" when pass > 1:
                case "none":
                    batches.Clear();
                    break;
                case "values" when pass > 1:
                    batches[1][1] = (batches[1][1] + 1).remainder(3);
                    break;
                case "order" when pass > 1:
                    batches.Reverse();
                    break;
                case "rows":
                    batches[0][1] = batches[0][1][..2];
                    break;
                case "null":
                    batches[0][1] = null!;
                    break;
            }

            return batches;
        }

        IEnumerable<Tensor[]> Lazily()
        {
            foreach (var batch in Changing())
            {
                yield return batch;
            }
        }

        var examples = Examples.FromBatches(
            Lazily(),
            b =>
                what switch
                {
                    "repeated" => b[2].data<long>().ToArray().Select(_ => 7L),
                    "count" => [1, 2],
                    _ => b[2].data<long>().ToArray(),
                }
        );
        Assert.Contains(message, Assert.Throws<InfluenceException>(() => Scores(examples)).Message, StringComparison.Ordinal);
    }

    private Tensor Scores(Examples examples)
    {
        var task = new InfluenceTask(_model) { TrainingLoss = b => Losses.CrossEntropy(_model.call(b["0"]), b["1"]) };
        using var fit = Ekfac.Fit(task, examples);
        return new InfluenceFunction(fit) { Tolerance = 0 }
            .Score(task, examples, examples)
            .Values;
    }

    private IEnumerable<(Tensor X, Tensor Y, Tensor Ids)> Batches()
    {
        for (var start = 0; start < _texts.Length; start += 3)
        {
            var count = Math.Min(3, _texts.Length - start);
            var (x, y) = Padded(start, count);
            yield return (x, y, arange(100 + start, 100 + start + count, 1, ScalarType.Int64));
        }
    }

    private (Tensor X, Tensor Y) Padded(int start, int count)
    {
        var texts = _texts[start..(start + count)];
        var longest = texts.Max(t => t.Length);
        return (
            stack([.. texts.Select(t => tensor(t.Concat(new long[longest - t.Length]).ToArray()))], 0),
            tensor(_labels[start..(start + count)])
        );
    }
}
