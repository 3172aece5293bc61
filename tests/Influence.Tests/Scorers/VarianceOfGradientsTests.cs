using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Scorers;

/// <summary>VoG by hand, against finite differences of the logit, and what it refuses.</summary>
public sealed class VarianceOfGradientsTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Two pixels with gradients (1, 2, 3) and (0, 0, 0): deviations 0.816497 and 0.</summary>
    [Fact]
    public void TheWorkedExample()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Linear(2, 3, dtype: float64);
        var checkpoints = new List<Checkpoint>();
        for (var k = 1; k <= 3; k++)
        {
            using var noGrad = no_grad();
            layer.weight.copy_(
                tensor(
                    new[,]
                    {
                        { k, 0.0 },
                        { 5, 7 },
                        { 1, 1 },
                    }
                )
            );
            checkpoints.Add(Checkpoint.Save(_folder.Path($"{k}"), layer, 0.1, k));
        }

        var vog = new VarianceOfGradients
        {
            Checkpoints = checkpoints,
            Logits = b => layer.call(b["x"]),
            Labels = b => b["y"],
            WithinClass = false,
        };
        var scores = vog.Score(Task(layer), Examples.FromTensors(("x", randn(2, 2, dtype: float64)), ("y", tensor(new[] { 0L, 1 }))));

        Assert.Equal(0.408248, scores[0], 6);
        Assert.Equal(0, scores[1], 12); // the second class's weights stay

        // The gradient is the input's, so frozen weights do as well.
        foreach (var parameter in layer.parameters())
        {
            parameter.requires_grad = false;
        }

        Assert.Equal(
            scores.Values,
            vog.Score(Task(layer), Examples.FromTensors(("x", randn(2, 2, dtype: float64)), ("y", tensor(new[] { 0L, 1 })))).Values
        );
        Assert.All(layer.parameters(), p => Assert.False(p.requires_grad));
    }

    [Fact]
    public void FiniteDifferencesOfAConvolutionWithTwoChannels()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(2);
        using var convolution = nn.Conv2d(2, 3, 3, dtype: float64);
        using var head = nn.Linear(12, 3, dtype: float64);
        using var model = new Composite(
            x => head.call(convolution.call(x).tanh().flatten(1)),
            ("convolution", convolution),
            ("head", head)
        );
        var (x, y) = (randn(5, 2, 4, 4, dtype: float64), tensor(new[] { 0L, 1, 0, 1, 1 }));
        var checkpoints = Wander(model, 3);

        var maps = checkpoints
            .Select(c =>
            {
                c.LoadInto(model);
                return Differences(x, moved => model.call(moved).gather(1, y.unsqueeze(1)).squeeze(1)).mean([1]);
            })
            .ToArray(); // [5, 4, 4] each
        var expected = stack(maps, 0).std(0, unbiased: false).flatten(1).mean([1]);

        var vog = Vog(model, checkpoints) with { WithinClass = false };
        var examples = Examples.FromTensors(("x", x), ("y", y));
        foreach (var (size, budget) in new[] { (128, 1L << 20), (2, 1L << 20), (2, 800L), (1, 1L) })
        {
            var scores = (vog with { MemoryBudget = budget }).Score(Task(model), examples with { BatchSize = size });
            Assert.Equal(examples.Ids, scores.Ids);

            // Central differences with a step of 1e-5: an error of its square.
            Assert.True(SingleExampleLoop.RelativeError(tensor(scores.Values.ToArray()), expected) < 1e-8);
        }

        // Without channels, and with the last dimension taken as such.
        var each = (vog with { ChannelAxis = 0 }).Score(Task(model), examples);
        var last = (vog with { ChannelAxis = 3 }).Score(Task(model), examples);
        Assert.NotEqual(each.Values, last.Values);
    }

    [Fact]
    public void TextByItsEmbeddingWithPadding()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(4);
        using var table = nn.Embedding(9, 3, dtype: float64);
        using var head = nn.Linear(3, 2, dtype: float64);
        Tensor Rest(Tensor embedded, Tensor x) =>
            head.call((embedded.sin() * x.ne(0).unsqueeze(2) * (arange(1, 6, dtype: float64) / 3).reshape(1, 5, 1)).sum(1L));
        using var model = new Composite(x => Rest(table.call(x), x), ("table", table), ("head", head));
        var (x, y) = (
            tensor(
                new long[,]
                {
                    { 3, 1, 4, 1, 5 },
                    { 2, 6, 0, 0, 0 },
                    { 8, 8, 7, 0, 0 },
                }
            ),
            tensor(new[] { 0L, 1, 1 })
        );
        var checkpoints = Wander(model, 4);

        var norms = checkpoints
            .Select(c =>
            {
                c.LoadInto(model);
                using var noGrad = no_grad();
                return Differences(table.call(x), moved => Rest(moved, x).gather(1, y.unsqueeze(1)).squeeze(1)).Squared().sum(2L).sqrt();
            })
            .ToArray(); // [3, 5] each
        var counts = x.ne(0).to_type(float64);
        var expected = (stack(norms, 0).std(0, unbiased: false) * counts).sum(1) / counts.sum(1);

        var vog = Vog(model, checkpoints) with { Embedding = table, WithinClass = false };
        var task = new InfluenceTask(model)
        {
            TrainingLoss = _ => throw new InvalidOperationException("not used"),
            PositionMask = b => b["x"].ne(0),
        };
        var state = ModelState.Of(model, x);
        foreach (var size in new[] { 1, 2, 128 })
        {
            var scores = vog.Score(task, Examples.FromTensors(("x", x), ("y", y)) with { BatchSize = size });
            Assert.True(SingleExampleLoop.RelativeError(tensor(scores.Values.ToArray()), expected) < 1e-8); // differences, as above
        }

        // The hook is gone too, also after a call that failed.
        Assert.Throws<InfluenceException>(() =>
            (vog with { Labels = b => b["y"] + 7 }).Score(task, Examples.FromTensors(("x", x), ("y", y)))
        );
        state.AssertUnchanged(model, x);
    }

    /// <summary>However many chunks the budget makes, the source is read through once, and once more for a first look.</summary>
    [Fact]
    public void TheSourceIsReadOnce()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 12);
        var vog = Vog(c.Model, Wander(c.Model, 3));
        using var source = new Counted(c.X, c.Y);
        using var loader = utils.data.DataLoader(source, 2, shuffle: false);

        var whole = vog.Score(c.Task(), c.Train);
        var before = LiveTensors.OnThisThread;
        (vog with { MemoryBudget = 1 }).Score(c.Task(), c.Train);
        Assert.Equal(before, LiveTensors.OnThisThread);
        var parts = (vog with { MemoryBudget = 1 }).Score(c.Task(), loader);

        Assert.True(source.Read <= 24, $"{source.Read} reads of 12 examples"); // a loader may fetch ahead
        Assert.All(whole.Values.Zip(parts.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-12)); // rounding
    }

    /// <summary>Inputs [B, T, D] with padding: what stands at positions that do not count changes nothing.</summary>
    [Fact]
    public void PaddingOfInputsThatAreNotImages()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(6);
        using var layer = nn.Linear(3, 2, dtype: float64);
        using var model = new Composite(x => layer.call(x.sin()).sum(1L), ("layer", layer));
        var (x, y, mask) = (randn(4, 5, 3, dtype: float64), tensor(new[] { 0L, 1, 0, 1 }), arange(5).lt(3).unsqueeze(0).expand(4, 5));
        var vog = Vog(model, Wander(model, 3)) with { WithinClass = false };
        var task = new InfluenceTask(model)
        {
            TrainingLoss = _ => throw new InvalidOperationException("not used"),
            PositionMask = _ => mask.narrow(0, 0, 1).expand(1, 5),
        };

        var expected = vog.Score(Task(model), Examples.FromTensors(("x", x.narrow(1, 0, 3)), ("y", y)));
        var masked = vog.Score(task, Examples.FromTensors(("x", x), ("y", y)) with { BatchSize = 1 });

        Assert.All(expected.Values.Zip(masked.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-12)); // sums in another order
        var flat = new InfluenceTask(model) { TrainingLoss = task.TrainingLoss, PositionMask = b => b["x"].select(1, 0) };
        Assert.Contains(
            "PositionMask returns [1, 5]",
            Assert.Throws<InfluenceException>(() => vog.Score(flat, Examples.FromTensors(("x", x), ("y", y)))).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void WithinTheClass()
    {
        Assert.Equal([-1, 1, 0, 0, 0], VarianceOfGradients.Standardised([1, 3, 7, 5, 5], [0, 0, 1, 2, 2]));
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var vog = Vog(c.Model, Wander(c.Model, 3));
        var (raw, scores) = ((vog with { WithinClass = false }).Score(c.Task(), c.Train), vog.Score(c.Task(), c.Train));
        Assert.Equal(VarianceOfGradients.Standardised(raw.Values, c.Y.data<long>().ToArray()), scores.Values);
        Assert.Contains("class", scores.Metadata.Unit, StringComparison.Ordinal);
    }

    /// <summary>A model that writes to its input does not touch the caller's, and its gradient is right.</summary>
    [Fact]
    public void AModelThatWritesInPlace()
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Linear(4, 3, dtype: float64);
        using var plain = new Composite(x => layer.call(x.relu()), ("layer", layer));
        using var writing = new Composite(x => layer.call(x.relu_()), ("layer", layer));
        var (x, y) = (randn(4, 4, dtype: float64), randint(0, 3, [4]));
        var (kept, checkpoints) = (x.clone(), Wander(plain, 3));
        var examples = Examples.FromTensors(("x", x), ("y", y));

        var expected = Vog(plain, checkpoints).Score(Task(plain), examples);

        Assert.Equal(expected.Values, Vog(writing, checkpoints).Score(Task(writing), examples).Values);
        Assert.True(x.eq(kept).all().item<bool>());
    }

    [Fact]
    public void WhatCannotBeDifferentiated()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var checkpoints = Wander(c.Model, 2);
        var vog = Vog(c.Model, checkpoints);
        using var table = nn.Embedding(5, 3, dtype: float64);

        Refused(vog with { Logits = _ => c.Model.call(c.X.narrow(0, 0, 1)) }, "do not depend on the tensor \"x\"", "no_grad()");
        Refused(vog with { Logits = b => c.Model.call(b["x"].detach()) }, "do not depend");
        Refused(vog with { Input = "y" }, "\"y\" is Int64", "Embedding");
        Refused(vog with { Input = "image" }, "no tensor named \"image\"");
        Refused(vog with { Logits = b => c.Model.call(b["x"]).sum(1) }, "[B, C]");
        Refused(vog with { Logits = _ => null! }, "returned null");
        Refused(vog with { Logits = b => c.Model.call(b["x"].narrow(1, 0, 2)) }, "Logits failed");
        Refused(vog with { Labels = b => b["y"].unsqueeze(1) }, "one class per example");
        Refused(vog with { Labels = b => b["y"] + 1 }, "0 to 2");
        Refused(vog with { Labels = b => b["y"].to_type(float64) }, "Int64", "Float64", ignoreCase: true);
        Refused(vog with { Embedding = table }, "no call");
        Refused(vog with { Embedding = c.Hidden }, "[1, 6]");
        Refused(vog with { ChannelAxis = 2 }, "ChannelAxis is 2");
        Assert.Throws<InfluenceException>(() => vog with { ChannelAxis = -1 });
        Assert.Contains(
            "2 checkpoints",
            Assert.Throws<InfluenceException>(() => Vog(c.Model, [checkpoints[0]])).Message,
            StringComparison.Ordinal
        );

        void Refused(VarianceOfGradients estimator, string first, string? second = null, bool ignoreCase = false)
        {
            var message = Assert.Throws<InfluenceException>(() => estimator.Score(c.Task(), c.Train)).Message;
            var comparison = ignoreCase ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;
            Assert.Contains(first, message, comparison);
            Assert.Contains(second ?? first, message, comparison);
        }
    }

    /// <summary>A data set that counts how often an example is read.</summary>
    private sealed class Counted(Tensor x, Tensor y) : utils.data.Dataset
    {
        public int Read { get; private set; }

        public override long Count => x.shape[0];

        public override Dictionary<string, Tensor> GetTensor(long index)
        {
            Read++;
            return new() { ["x"] = x[index].clone(), ["y"] = y[index].clone() };
        }
    }

    private static VarianceOfGradients Vog(nn.Module<Tensor, Tensor> model, IReadOnlyList<Checkpoint> checkpoints) =>
        new()
        {
            Checkpoints = checkpoints,
            Logits = b => model.call(b["x"]),
            Labels = b => b["y"],
        };

    private static InfluenceTask Task(nn.Module model) =>
        new(model) { TrainingLoss = _ => throw new InvalidOperationException("not used") };

    /// <summary>Checkpoints of a walk at random.</summary>
    private List<Checkpoint> Wander(nn.Module model, int count)
    {
        var checkpoints = new List<Checkpoint>();
        for (var k = 0; k < count; k++)
        {
            using var scope = NewDisposeScope();
            using var noGrad = no_grad();
            foreach (var (_, parameter) in model.named_parameters())
            {
                parameter.add_(randn_like(parameter) * 0.3);
            }

            checkpoints.Add(Checkpoint.Save(_folder.Path($"{Guid.NewGuid()}"), model, 0.1, k));
        }

        return checkpoints;
    }

    /// <summary>Central differences of one number per example with respect to each of its inputs.</summary>
    private static Tensor Differences(Tensor x, Func<Tensor, Tensor> value)
    {
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        const double Step = 1e-5;
        var (flat, result) = (x.detach().flatten(1), zeros_like(x).flatten(1));
        for (long p = 0; p < flat.shape[1]; p++)
        {
            var move = zeros_like(flat);
            move.select(1, p).fill_(Step);
            var (up, down) = (value((flat + move).reshape(x.shape)), value((flat - move).reshape(x.shape)));
            result.select(1, p).copy_((up - down) / (2 * Step));
        }

        return result.reshape(x.shape).MoveToOuterDisposeScope();
    }
}
