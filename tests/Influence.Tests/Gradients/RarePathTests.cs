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
            linear.weight = new TorchSharp.Modules.Parameter(how == "transposed" ? memory.t() : memory);
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
