using Influence.Recipes;
using Influence.Selection;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>CoLM in a loop: its features against gradients and Adam's moments by hand, its choice against the strategy's own.</summary>
public class ColmBatchesTests
{
    private const string Parameter = "out.weight";
    private const int Count = 12;

    // "rare" has three of twelve examples, fewer than the average source.
    private static readonly ExampleGroups s_sources = ExampleGroups.Of(
        [.. Enumerable.Range(0, Count).Select(i => (long)i)],
        id => id % 4 == 3 ? "rare" : "web"
    );

    /// <summary>The loss is quadratic in the last layer, where central differences are exact: (g . z) z, and of it Adam's step from the
    /// moments of three steps, recomputed in float64.</summary>
    [Fact]
    public void FeaturesAreAdamsStepAlongTheProjectedGradient()
    {
        using var scope = NewDisposeScope();
        var (model, batch) = Small();
        var task = Task(model);
        using var optimizer = optim.AdamW(model.parameters(), 0.01, beta1: 0.8, beta2: 0.95, eps: 1e-6, weight_decay: 0.1);
        using var loop = TrainingGradients.Open(task, batch);
        var (m, v) = (zeros(4, ScalarType.Float64), zeros(4, ScalarType.Float64));
        for (var t = 0; t < 3; t++)
        {
            optimizer.zero_grad();
            using var step = loop.Step(batch);
            step.Accumulate();
            var g = model.get_parameter(Parameter)!.grad!.reshape(-1).clone();
            m = (m * 0.8) + (g * 0.2);
            v = (v * 0.95) + (g * g * 0.05);
            optimizer.step();
        }

        var colm = new ColmBatches(s_sources, Parameter) { Epsilon = 0.01, Seed = 5 };
        var found = colm.Features(loop, batch, optimizer);
        var z = ColmBatches.Direction(5, batch.Ids, 4, ScalarType.Float64, CPU);
        for (var i = 0; i < Count; i++)
        {
            var g = Gradient(model, task, batch.Pick([i]), Parameter).reshape(-1);
            var projected = (g * z).sum() * z;
            var mean = ((m * 0.8) + (projected * 0.2)) / (1 - Math.Pow(0.8, 4));
            var square = ((v * 0.95) + (projected * projected * 0.05)) / (1 - Math.Pow(0.95, 4));

            // Rounding of losses of order one, over 2 epsilon.
            Assert.True(found[i].allclose(mean / (square.sqrt() + 1e-6), rtol: 1e-8, atol: 1e-9));
        }
    }

    /// <summary>Before the first step and with SGD.</summary>
    [Fact]
    public void WithoutMomentsTheyAreZeroAndSgdHasNone()
    {
        using var scope = NewDisposeScope();
        var (model, batch) = Small();
        using var adam = optim.Adam(model.parameters(), 0.01);
        using var sgd = optim.SGD(model.parameters(), 0.01);
        using var loop = TrainingGradients.Open(Task(model), batch);
        var colm = new ColmBatches(s_sources, Parameter);
        var plain = colm.Features(loop, batch, sgd); // [B, d]

        // mhat = g and vhat = g^2 of the first step.
        Assert.True(colm.Features(loop, batch, adam).allclose(plain.sign(), rtol: 1e-3));
        Assert.False(plain.allclose(plain.sign()));
    }

    /// <summary>Of queries, keys and values in one matrix only the values move.</summary>
    [Fact]
    public void OfAPackedProjectionTheValuesCount()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var model = new Attending();
        var batch = ExampleBatch.Of([4, 5, 6, 7], ("x", randn(4, 5, 6, ScalarType.Float64)), ("y", randn(4, ScalarType.Float64)));
        InfluenceTask task = new(model) { TrainingLoss = b => (model.call(b["x"]) - b["y"]).pow(2) };
        using var optimizer = optim.SGD(model.parameters(), 0.1);
        using var loop = TrainingGradients.Open(task, batch);
        const string Packed = "attention.in_proj_weight";
        var found = new ColmBatches(s_sources, Packed) { Epsilon = 1e-4 }.Features(loop, batch, optimizer);
        var z = ColmBatches.Direction(0, batch.Ids, 36, ScalarType.Float64, CPU);
        for (var i = 0; i < 4; i++)
        {
            var g = Gradient(model, task, batch.Pick([i]), Packed).narrow(0, 12, 6).reshape(-1);

            // Central differences: an error of order epsilon^2.
            Assert.True(found[i].allclose((g * z).sum() * z, rtol: 1e-5, atol: 1e-6));
        }
    }

    [Fact]
    public void TheChoiceIsTheStrategysAndTrainsAsItsExamplesAlone()
    {
        using var scope = NewDisposeScope();
        var (model, batch) = Small();
        using var optimizer = optim.AdamW(model.parameters(), 0.01);
        using var loop = TrainingGradients.Open(Task(model), batch);
        var state = ModelState.Of(model, batch["x"]);
        var colm = new ColmBatches(s_sources, Parameter)
        {
            Strategy = new Colm { Weighted = true, Dimensions = 3 },
        };
        using var choice = colm.Choose(loop, batch, optimizer);
        state.AssertUnchanged(model, batch["x"]);

        long[] ids = [.. Enumerable.Range(0, Count).Select(i => (long)i)];
        using var pool = new SelectionPool(ids)
        {
            Features = colm.Features(loop, batch, optimizer),
            Groups = ExampleGroups.Of(ids, id => id % 4 == 3 ? "rare" : "web"),
        };
        var expected = new Colm
        {
            Weighted = true,
            Dimensions = 3,
            SmallSources = ["rare"],
        }.Select(pool, SelectionBudget.Count(6));
        Assert.Equal(expected.Ids, choice.Batch.Ids);
        Assert.Equal([3, 7, 11], choice.Batch.Ids.Take(3));
        Assert.Equal(expected.Weights.Select(w => w / Count), choice.Weights.data<double>().ToArray());

        using (var step = loop.Step(choice.Batch))
        {
            step.Accumulate(choice.Weights);
        }

        var actual = PlainBackward.Take(model);
        var plain = PlainBackward.Of(
            model,
            () => (Task(model).TrainingLoss(batch.Pick([.. choice.Positions])) * tensor(expected.Weights.ToArray()) / Count).sum()
        );

        // Float64 sums in another order.
        Assert.True(PlainBackward.RelativeError(actual, plain) < 1e-10);
    }

    [Fact]
    public void SmallSourcesAreKeptAboveTheShareAndAWholeBatchNeedsNoPass()
    {
        using var scope = NewDisposeScope();
        var (model, batch) = Small();
        using var optimizer = optim.SGD(model.parameters(), 0.01);
        using var loop = TrainingGradients.Open(Task(model), batch);
        using var few = new ColmBatches(s_sources, Parameter) { Fraction = 0.1 }.Choose(loop, batch, optimizer);
        Assert.Equal([3, 7, 11], few.Batch.Ids);
        using var all = new ColmBatches(s_sources, "none of the model's") { Fraction = 1 }.Choose(loop, batch, optimizer);
        Assert.Equal(batch.Ids, all.Batch.Ids);
    }

    [Fact]
    public void BadInputIsNamedAndTheWeightsAreAsBefore()
    {
        using var scope = NewDisposeScope();
        var (model, batch) = Small();
        using var optimizer = optim.SGD([model.get_parameter("in.weight")!], 0.01);
        using var whole = optim.SGD(model.parameters(), 0.01);
        using var loop = TrainingGradients.Open(Task(model), batch);
        Assert.Contains("has no trainable parameter v.weight", Message(new(s_sources, "v.weight"), whole), StringComparison.Ordinal);
        Assert.Contains("does not hold out.weight", Message(new(s_sources, Parameter), optimizer), StringComparison.Ordinal);
        Assert.Contains("ids 3", Message(new(ExampleGroups.Of([0, 1, 2], _ => "web"), Parameter), whole), StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => new ColmBatches(ExampleGroups.FromMembers(("a", [1]), ("b", [1])), Parameter));
        var state = ModelState.Of(model, batch["x"]);
        var wild = new ColmBatches(s_sources, Parameter) { Epsilon = 1e200 };
        Assert.Throws<InfluenceException>(() => wild.Choose(loop, batch, whole));
        state.AssertUnchanged(model, batch["x"]);

        string Message(ColmBatches colm, optim.Optimizer with) =>
            Assert.Throws<InfluenceException>(() => colm.Choose(loop, batch, with)).Message;
    }

    private static InfluenceTask Task(nn.Module<Tensor, Tensor> model) =>
        new(model) { TrainingLoss = b => (model.call(b["x"]).squeeze(1) - b["y"]).pow(2) };

    private static (Composite Model, ExampleBatch Batch) Small()
    {
        random.manual_seed(11);
        var (hidden, head) = (nn.Linear(6, 4, dtype: float64), nn.Linear(4, 1, dtype: float64));
        var model = new Composite(x => head.call(hidden.call(x).tanh()), ("in", hidden), ("out", head));
        model.eval();
        long[] ids = [.. Enumerable.Range(0, Count).Select(i => (long)i)];
        return (model, ExampleBatch.Of(ids, ("x", randn(Count, 6, ScalarType.Float64)), ("y", randn(Count, ScalarType.Float64))));
    }

    private static Tensor Gradient(nn.Module model, InfluenceTask task, ExampleBatch one, string parameter)
    {
        foreach (var p in model.parameters())
        {
            p.grad = null;
        }

        task.TrainingLoss(one).sum().backward();
        return model.get_parameter(parameter)!.grad!.clone();
    }

    private sealed class Attending : nn.Module<Tensor, Tensor>
    {
        private readonly MultiheadAttention _attention = nn.MultiheadAttention(6, 2);
        private readonly Linear _out = nn.Linear(6, 1);

        public Attending()
            : base(nameof(Attending))
        {
            register_module("attention", _attention);
            register_module("out", _out);
            this.to(float64);
            eval();
        }

        public override Tensor forward(Tensor input)
        {
            var x = input.transpose(0, 1); // [T, B, d]
            var (seen, _) = _attention.call(x, x, x, null, false, null);
            return _out.call(seen.mean([0L])).squeeze(1);
        }
    }
}
