using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Gradients;

/// <summary>What the first examples do not show: in-place writes, uses of a weight past its layer, examples that are mixed; from example 40
/// of 48 on.</summary>
public sealed class RarePathTests : IDisposable
{
    private const int From = 40;

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TorchSharp.Modules.Embedding _table;
    private readonly TorchSharp.Modules.Linear _hidden;
    private readonly TorchSharp.Modules.Linear _head;
    private readonly Composite _model;
    private readonly Tensor _tokens;
    private readonly Tensor _flag;
    private readonly Tensor _weight;

    public RarePathTests()
    {
        random.manual_seed(3);
        (_table, _hidden, _head) = (nn.Embedding(9, 4, dtype: float64), nn.Linear(4, 4, dtype: float64), nn.Linear(4, 1, dtype: float64));
        _model = new Composite(
            x => _head.call(_hidden.call(_table.call(x)).tanh()),
            ("table", _table),
            ("hidden", _hidden),
            ("head", _head)
        );
        _tokens = randint(1, 9, [48, 3]);
        _tokens.narrow(0, From, 8).narrow(1, 2, 1).zero_();
        _flag = zeros(48, ScalarType.Bool);
        _flag.narrow(0, From, 8).fill_(true);
        _weight = zeros(48, float64);
        _weight.narrow(0, From, 8).fill_(0.3);
    }

    public void Dispose() => _scope.Dispose();

    /// <summary>Only the parameters of an expert take part, to which none of the first examples is routed: it has no rows there, or is not
    /// run at all.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AnExpertThatTheFirstExamplesDoNotReach(bool runsOnNothing)
    {
        _model.eval();
        Tensor Loss(ExampleBatch b)
        {
            var (table, rows) = (_table.call(b["x"]).mean([1]), b["flag"].nonzero().squeeze(1));
            table = rows.shape[0] > 0 || runsOnNothing ? table.index_add(0, rows, _hidden.call(table.index_select(0, rows)), 1) : table;
            return _head.call(table.tanh()).squeeze(1).Squared();
        }

        (string, Tensor)[] data = [("x", _tokens), ("flag", _flag)];
        var g = PlainAutograd.Gradients(_model, Loss, data, name => name.StartsWith("hidden", StringComparison.Ordinal));
        var task = new InfluenceTask(_model)
        {
            TrainingLoss = Loss,
            Layers = LayerSelection.Where(name => name.StartsWith("hidden", StringComparison.Ordinal)),
        };
        var examples = Examples.FromTensors(data) with { BatchSize = 8 };

        using var scores = new TracIn().Score(task, examples, examples.Range(From, 8));

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, g.narrow(0, From, 8).mm(g.t())) < 1e-9);
        if (!runsOnNothing)
        {
            var error = Assert.Throws<InfluenceException>(() => new TracIn().SelfInfluence(task, examples.Range(0, From)));
            Assert.Contains("examples looked at", error.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>Written to the output of a layer or of the first layer, only where there is padding, token 0. (What a layer was given may
    /// not be written to in training either.)</summary>
    [Theory]
    [InlineData("masked_fill_ on an output")]
    [InlineData("masked_fill_ on the first output")]
    [InlineData("clamp_ on an output")]
    [InlineData("index_fill_ on a view")]
    [InlineData("relu_ after a layer")]
    public void InPlaceWrites(string how)
    {
        Tensor Loss(ExampleBatch b)
        {
            var pad = b["x"].eq(0).unsqueeze(2);
            var any = pad.any().item<bool>();
            var table = _table.call(b["x"]); // [B, 3, 4]
            table = any && how == "masked_fill_ on the first output" ? table.masked_fill_(pad, 0.5) : table;
            var hidden = _hidden.call(table);
            if (any)
            {
                switch (how)
                {
                    case "masked_fill_ on an output":
                        hidden.masked_fill_(pad, 0);
                        break;
                    case "clamp_ on an output":
                        hidden.clamp_(-0.1, 0.1);
                        break;
                    case "index_fill_ on a view":
                        hidden.select(1, 2).index_fill_(1, tensor(new[] { 1L }), 0.25);
                        break;
                    case "relu_ after a layer":
                        hidden.relu_();
                        break;
                }
            }

            return _head.call(hidden.tanh()).add(1).Squared().sum([1, 2]);
        }

        // A write to the whole batch is no function of one example, so every example is written to or none.
        var whole = how is "clamp_ on an output" or "index_fill_ on a view" or "relu_ after a layer";
        PlainAutograd.AssertScores(_model, Loss, whole ? 8 : 16, ("x", _tokens));
        PlainAutograd.AssertTrains(_model, Loss, 8, ("x", whole ? _tokens.narrow(0, From, 8) : _tokens));
    }

    /// <summary>40 texts with padding from the 33rd on, masked in place behind the last layer: each example's score is the loop's, not that
    /// of unmasked rows.</summary>
    [Fact]
    public void PaddingFromTheThirtyThirdTextOn()
    {
        var (e, c) = (nn.Embedding(11, 4, dtype: float64), nn.Linear(4, 1, dtype: float64));
        var model = new Composite(x => c.call(e.call(x).tanh()), ("e", e), ("c", c));
        var x = randint(1, 11, [40, 5]);
        x.narrow(0, 32, 8).narrow(1, 3, 2).zero_();
        Tensor Loss(ExampleBatch b) => c.call(e.call(b[0]).tanh()).masked_fill_(b[0].eq(0).unsqueeze(2), 0).add(1).Squared().sum([1, 2]);
        PlainAutograd.AssertScores(model, Loss, 128, ("x", x));
        PlainAutograd.AssertScores(model, Loss, 8, ("x", x));
        PlainAutograd.AssertTrains(model, Loss, 8, ("x", x));
    }

    /// <summary>A delegate that writes to the examples sees other numbers at each evaluation, and leaves the user's data changed.</summary>
    [Theory]
    [InlineData("scales the images")]
    [InlineData("shifts the tokens")]
    [InlineData("shifts tokens in memory")]
    [InlineData("from example 40 on")]
    public void ALossThatWritesToTheExamplesIsRefused(string how)
    {
        _model.eval();
        var task = new InfluenceTask(_model)
        {
            TrainingLoss = b =>
            {
                var (x, w) = (b["x"], b["w"]);
                if (how == "scales the images" || (how == "from example 40 on" && b["flag"].any().item<bool>()))
                {
                    w.div_(255);
                }
                else if (how == "shifts the tokens")
                {
                    x.copy_((x + 1).remainder(9));
                }
                else if (how == "shifts tokens in memory")
                {
                    var tokens = x.data<long>();
                    for (var i = 0; i < b.Count; i++)
                    {
                        tokens[i, 0] = (tokens[i, 0] + 1) % 9;
                    }
                }

                return _model.call(x).add(1).Squared().sum([1, 2]) * (w + 1);
            },
        };
        var examples = Examples.FromTensors(("x", _tokens), ("flag", _flag), ("w", _weight + 1)) with { BatchSize = 8 };

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, examples, examples));

        Assert.Contains(
            how.StartsWith("shifts", StringComparison.Ordinal) ? "\"x\" in place" : "\"w\" in place",
            thrown.Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>What is written once for all is no harm.</summary>
    [Fact]
    public void ALossThatClearsPaddingOfTheExamplesIsRight()
    {
        Tensor Loss(ExampleBatch b) =>
            _model.call(b["x"].masked_fill_(b["x"].eq(0), 3)).add(1).Squared().sum([1, 2]) * b["w"].clamp_(0, 0.2).add(1);
        var (x, w) = (_tokens.clone(), _weight.clone());
        PlainAutograd.AssertScores(_model, Loss, 16, ("x", x), ("w", w));
    }

    /// <summary>A statistic without a gradient mixes losses and no gradient's direction, and here the batch's first examples are not part
    /// of it.</summary>
    [Theory]
    [InlineData("flag")]
    [InlineData("tokens")]
    [InlineData("standard deviation")]
    [InlineData("number")]
    public void ADetachedStatisticOverSomeRowsIsRefused(string of)
    {
        Tensor Loss(ExampleBatch b)
        {
            var losses = _model.call(b["x"]).add(1).Squared().sum([1, 2]);
            var some = of == "flag" ? b["flag"] : b["x"].eq(0).any(1);
            if (!some.any().item<bool>())
            {
                return losses;
            }

            var own = losses.masked_select(some).detach();
            var by =
                of == "number" ? tensor((double)own.numel())
                : of == "standard deviation" ? own.std(unbiased: false) + 1
                : own.mean();
            return where(some, losses / by, losses);
        }

        _model.eval();
        var examples = Examples.FromTensors(("x", _tokens), ("flag", _flag)) with { BatchSize = 16 };
        Assert.Contains(
            "mixes the examples",
            Assert
                .Throws<InfluenceException>(() => new TracIn().Score(new InfluenceTask(_model) { TrainingLoss = Loss }, examples, examples))
                .Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>The measurement of late queries goes another way.</summary>
    [Fact]
    public void AMeasurementThatUsesAWeightPastItsLayerLate()
    {
        _model.eval();
        Tensor Train(ExampleBatch b) => _model.call(b["x"]).add(1).Squared().sum([1, 2]);
        Tensor Measure(ExampleBatch b) => b["flag"].any().item<bool>() ? Train(b) + (b["w"] * _hidden.weight!.Squared().sum()) : Train(b);
        var data = new[] { ("x", _tokens), ("flag", _flag), ("w", _weight) };
        var (f, g) = (PlainAutograd.Gradients(_model, Measure, data), PlainAutograd.Gradients(_model, Train, data));
        var examples = Examples.FromTensors(data) with { BatchSize = 16 };

        using var scores = new TracIn().Score(
            new InfluenceTask(_model) { TrainingLoss = Train, Measurement = Measure },
            examples,
            examples
        );

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, f.mm(g.t())) < 1e-9);
    }

    /// <summary>A hook of the user's own that changes what a layer gives, from example 40 on.</summary>
    [Theory]
    [InlineData("uses the weight")]
    [InlineData("scales")]
    [InlineData("looks")]
    public void AHookOfTheUsersOwn(string what)
    {
        var late = false;
        var hook = _hidden.register_forward_hook(
            (_, _, output) =>
                !late || what == "looks" ? output.alias()
                : what == "scales" ? output * 2
                : output + _hidden.weight!.Squared().sum()
        );
        Tensor Loss(ExampleBatch b)
        {
            late = b["flag"].any().item<bool>();
            return _model.call(b["x"]).add(1).Squared().sum([1, 2]);
        }

        PlainAutograd.AssertScores(_model, Loss, 8, ("x", _tokens), ("flag", _flag));
        hook.remove();
    }

    [Theory]
    [InlineData("another task by the weight")]
    [InlineData("a penalty")]
    [InlineData("by forward")]
    [InlineData("a tied use")]
    public void UsesOfAWeightPastItsLayer(string how)
    {
        Tensor Loss(ExampleBatch b)
        {
            var losses = _model.call(b["x"]).add(1).Squared().sum([1, 2]);
            if (!b["flag"].any().item<bool>())
            {
                return losses;
            }

            var z = F.one_hot(b["x"].select(1, 0), 9).to_type(float64).narrow(1, 0, 4); // [B, 4]
            var other = how switch
            {
                "another task by the weight" => F.linear(z, _hidden.weight!).Squared().sum(1),
                "a penalty" => b["w"] * _hidden.weight!.Squared().sum(),
                "by forward" => _hidden.forward(z).Squared().sum(1),
                _ => z.matmul(_table.weight!.narrow(0, 0, 4)).Squared().sum(1),
            };
            return losses + (other * b["flag"].to_type(float64));
        }

        PlainAutograd.AssertScores(_model, Loss, 16, ("x", _tokens), ("flag", _flag), ("w", _weight));
        PlainAutograd.AssertTrains(_model, Loss, 8, ("x", _tokens), ("flag", _flag), ("w", _weight));
    }

    /// <summary>A mean over the flagged rows of a batch is no function of one example.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AMeanOverSomeRowsIsRefused(bool byFlag)
    {
        Tensor Loss(ExampleBatch b)
        {
            var losses = _model.call(b["x"]).add(1).Squared().sum([1, 2]);
            var some = byFlag ? b["flag"] : b["x"].eq(0).any(1);
            return some.any().item<bool>() ? where(some, losses.masked_select(some).mean() + losses, losses) : losses;
        }

        _model.eval();
        var task = new InfluenceTask(_model) { TrainingLoss = Loss };
        var examples = Examples.FromTensors(("x", _tokens), ("flag", _flag)) with { BatchSize = 16 };

        var thrown = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, examples, examples));

        Assert.Contains("mixes the examples", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>An encoder's weight again as the decoder's parameter over the same memory: two for autograd, and for an
    /// optimizer.</summary>
    [Theory]
    [InlineData("transposed")]
    [InlineData("same shape")]
    [InlineData("as a convolution")]
    [InlineData("a part")]
    public void TwoParametersOverOneMemory(string how)
    {
        var encoder = nn.Linear(4, 4, dtype: float64);
        using var memory = encoder.weight!.detach();
        nn.Module<Tensor, Tensor> decoder;
        if (how == "as a convolution")
        {
            var convolution = nn.Conv2d(4, 4, 1, dtype: float64);
            convolution.weight = new TorchSharp.Modules.Parameter(memory.reshape(4, 4, 1, 1));
            decoder = convolution;
        }
        else
        {
            var linear = nn.Linear(4, 4, dtype: float64);
            linear.weight = new TorchSharp.Modules.Parameter(
                how == "transposed" ? memory.t()
                : how == "a part" ? memory.narrow(0, 1, 1).expand(4, 4)
                : memory
            );
            decoder = linear;
        }

        var model = new Composite(
            x =>
                how == "as a convolution"
                    ? decoder.call(encoder.call(x).tanh().unsqueeze(2).unsqueeze(3)).flatten(1)
                    : decoder.call(encoder.call(x).tanh()),
            ("encoder", encoder),
            ("decoder", decoder)
        );
        Tensor Loss(ExampleBatch b) => (model.call(b["x"]) - b["x"]).Squared().sum(1);
        var x = randn(7, 4, dtype: float64);

        PlainAutograd.AssertScores(model, Loss, 128, ("x", x));
        PlainAutograd.AssertTrains(model, Loss, 3, ("x", x));
    }

    /// <summary>A data set that draws its examples anew at each reading: the scores say so.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void RandomAugmentationIsNoted(bool random)
    {
        _model.eval();
        using var data = new Augmented(_tokens, random);
        using var loader = utils.data.DataLoader(data, 4, shuffle: false);
        var task = new InfluenceTask(_model) { TrainingLoss = b => _model.call(b["x"]).Squared().sum([1, 2]) };

        using var scores = new TracIn().Score(task, loader, Examples.FromTensors(("x", _tokens.narrow(0, 0, 2))));

        Assert.Equal(random, scores.Metadata.Notes.Contains("each time it is read", StringComparison.Ordinal));
    }

    private sealed class Augmented(Tensor tokens, bool random) : utils.data.Dataset
    {
        public override long Count => tokens.shape[0];

        public override Dictionary<string, Tensor> GetTensor(long index) =>
            new() { ["x"] = random ? tokens[index].roll(randint(0, 3, [1]).item<long>()) : tokens[index].clone() };
    }
}
