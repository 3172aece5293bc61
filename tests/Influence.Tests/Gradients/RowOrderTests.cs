using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>Rows that a model sorts, groups, flips or packs: a layer's row i is then not example i.</summary>
public sealed class RowOrderTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly nn.Module<Tensor, Tensor> _body;
    private readonly nn.Module<Tensor, Tensor> _head;
    private readonly Composite _model;

    public RowOrderTests()
    {
        random.manual_seed(2);
        (_body, _head) = (nn.Linear(4, 5, dtype: float64), nn.Linear(5, 2, dtype: float64));
        _model = new Composite(x => _head.call(_body.call(x).tanh()), ("body", _body), ("head", _head));
    }

    public void Dispose() => _scope.Dispose();

    /// <summary>Each way is a permutation of the rows by what they hold, undone after the layers.</summary>
    [Theory]
    [InlineData("flipped")]
    [InlineData("sorted by a number")]
    [InlineData("grouped by class")]
    [InlineData("head only")]
    public void RowsInAnotherOrder(string how)
    {
        var (x, y) = (randn(12, 4, dtype: float64), randint(0, 3, [12]));
        AssertExact(4, Permuted(how), ("x", x), ("y", y));
    }

    /// <summary>The two largest losses are one example twice: exchanging them shows nothing.</summary>
    [Fact]
    public void ADuplicateOfTheHardestExample()
    {
        var x = randn(6, 4, dtype: float64);
        x.narrow(0, 0, 2).copy_(x.narrow(0, 5, 1) * 9);
        AssertExact(6, Permuted("flipped"), ("x", x), ("y", randint(0, 3, [6])));
    }

    /// <summary>The first batches are sorted as they come.</summary>
    [Fact]
    public void RowsThatAreSortedAlreadyAtFirst()
    {
        var x = randn(16, 4, dtype: float64);
        x.narrow(0, 0, 8).select(1, 0).copy_(arange(-4, 4, 1, float64));
        AssertExact(4, Permuted("sorted by a number"), ("x", x), ("y", randint(0, 3, [16])));
    }

    /// <summary>Only examples with a flag are turned round, and they come late.</summary>
    [Fact]
    public void RowsThatAFlagTurnsRound()
    {
        var flag = zeros(24, ScalarType.Bool);
        flag.narrow(0, 16, 8).fill_(true);
        Tensor Loss(ExampleBatch b) =>
            (b["flag"].any().item<bool>() ? _model.call(b["x"].flip(0)).flip(0) : _model.call(b["x"])).Squared().sum(1);
        AssertExact(8, Loss, ("x", randn(24, 4, dtype: float64)), ("flag", flag));
    }

    /// <summary>The few examples of the last batch alone go in another order, and so do queries alone.</summary>
    [Fact]
    public void RowsThatASmallerBatchTurnsRound() =>
        AssertExact(
            8,
            b => (b.Count == 5 ? _model.call(b["x"].flip(0)).flip(0) : _model.call(b["x"])).Squared().sum(1),
            ("x", randn(21, 4, dtype: float64))
        );

    /// <summary>The measurement turns the queries round, from the twentieth on.</summary>
    [Fact]
    public void RowsThatAMeasurementTurnsRound()
    {
        _model.eval();
        var x = randn(24, 4, dtype: float64);
        Tensor Train(ExampleBatch b) => _model.call(b["x"]).Squared().sum(1);
        var task = new InfluenceTask(_model)
        {
            TrainingLoss = Train,
            Measurement = b => (b.Ids[0] >= 16 ? _model.call(b["x"].roll(3, 0)).roll(-3, 0) : _model.call(b["x"])).sin().sum(1),
        };
        var examples = Examples.FromTensors(("x", x)) with { BatchSize = 8 };
        var f = PlainAutograd.Gradients(_model, b => _model.call(b["x"]).sin().sum(1), [("x", x)]);
        var g = PlainAutograd.Gradients(_model, Train, [("x", x)]);

        using var scores = new TracIn().Score(task, examples, examples);

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, f.mm(g.t())) < 1e-9);
    }

    /// <summary>No permutation at all: a layer without a bias sees an orthogonal mixture of the rows, undone behind it, which leaves every
    /// loss as it is.</summary>
    [Fact]
    public void RowsThatAreMixedAndUnmixed()
    {
        var (narrow, wide) = (nn.Linear(4, 3, hasBias: false, dtype: float64), nn.Linear(3, 2, dtype: float64));
        var model = new Composite(x => x, ("narrow", narrow), ("wide", wide));
        Tensor Loss(ExampleBatch b)
        {
            var count = b["x"].shape[0];
            var at = arange(count, float64);
            var q = linalg.qr((at.unsqueeze(1) * at.unsqueeze(0) * 1.7).sin() + eye(count, dtype: float64)).Q;
            return wide.call(q.t().mm(narrow.call(q.mm(b["x"]))).tanh()).Squared().sum(1);
        }

        AssertExact(model, 4, Loss, ("x", randn(10, 4, dtype: float64)));
    }

    /// <summary>Sixteen by sixteen, the number of weights that tell rows apart.</summary>
    [Fact]
    public void RowsThatMoveBySixteen() =>
        AssertExact(
            64,
            b => (b.Count > 16 ? _model.call(b["x"].roll(16, 0)).roll(-16, 0) : _model.call(b["x"])).Squared().sum(1),
            ("x", randn(64, 4, dtype: float64))
        );

    /// <summary>A mixture of experts: each expert sees the rows that are sent to it, here sometimes as many as there are
    /// examples.</summary>
    [Theory]
    [InlineData(0.0)]
    [InlineData(-9.0)]
    public void RowsThatAreSentToExperts(double threshold)
    {
        var other = nn.Linear(4, 5, dtype: float64);
        _model.register_module("other", other);
        Tensor Loss(ExampleBatch b)
        {
            var x = b["x"];
            var order = x.select(1, 0).argsort();
            var sorted = x.index_select(0, order);
            var right = sorted.select(1, 0).gt(threshold).sum().item<long>();
            Tensor[] parts =
            [
                .. new[]
                {
                    (Expert: other, Rows: sorted.narrow(0, 0, x.shape[0] - right)),
                    (Expert: _body, Rows: sorted.narrow(0, x.shape[0] - right, right)),
                }
                    .Where(p => p.Rows.shape[0] > 0)
                    .Select(p => p.Expert.call(p.Rows)),
            ];
            return _head.call(cat(parts, 0).index_select(0, order.argsort()).tanh()).Squared().sum(1);
        }

        AssertExact(5, Loss, ("x", randn(15, 4, dtype: float64)));
    }

    /// <summary>Padding-free rows: the real positions of all examples one after another, in the second case twice as many as examples by
    /// chance.</summary>
    [Theory]
    [InlineData(new long[] { 3, 1, 2, 2, 4, 1 }, 3)]
    [InlineData(new long[] { 1, 3, 3, 1, 2, 2 }, 6)]
    public void RowsWithoutPadding(long[] lengths, int batchSize)
    {
        var real = arange(4).unsqueeze(0).lt(tensor(lengths).unsqueeze(1)); // [N, 4]
        Tensor Loss(ExampleBatch b)
        {
            var mask = b["real"];
            var index = mask.reshape(-1).nonzero().squeeze(1);
            var rows = _model.call(b["x"].reshape(-1, 4).index_select(0, index)).Squared().sum(1);
            return zeros(mask.numel(), float64).index_add(0, index, rows, 1).reshape(mask.shape).sum(1);
        }

        AssertExact(batchSize, Loss, ("x", randn(lengths.Length, 4, 4, dtype: float64)), ("real", real));
    }

    /// <summary>Sequences of length 1 + i*5 % 6, packed by length for an LSTM and put back.</summary>
    [Fact]
    public void SequencesPackedForAnLstm()
    {
        var (lstm, head) = (nn.LSTM(4, 5, batchFirst: true, dtype: float64), nn.Linear(5, 2, dtype: float64));
        var model = new Packed(lstm, head);
        var lengths = tensor(Enumerable.Range(0, 12).Select(i => 1L + (i * 5 % 6)).ToArray());
        AssertExact(
            model,
            12,
            b => model.call(b["x"], b["length"]).Squared().sum(1),
            ("x", randn(12, 6, 4, dtype: float64)),
            ("length", lengths)
        );
    }

    /// <summary>A forward pass in chunks, and rows whose batches are cut in two by a flag.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void AForwardPassInChunks(int size) =>
        AssertExact(7, b => cat([.. b["x"].split(size).Select(_model.call)], 0).Squared().sum(1), ("x", randn(14, 4, dtype: float64)));

    /// <summary>Asked for by name, a layer is taken by single examples.</summary>
    [Fact]
    public void SingleExamplesByName()
    {
        var x = randn(6, 4, dtype: float64);
        _model.eval();
        var task = new InfluenceTask(_model)
        {
            TrainingLoss = b => _model.call(b["x"]).Squared().sum(1),
            SingleExamples = LayerSelection.Where(n => n.StartsWith("head", StringComparison.Ordinal)),
        };
        var examples = Examples.FromTensors(("x", x));
        var g = PlainAutograd.Gradients(_model, task.TrainingLoss, [("x", x)]);

        var coverage = task.Coverage(examples);
        using var scores = new TracIn().Score(task, examples, examples);

        Assert.Equal(12, coverage.BySingleExamples);
        Assert.Equal(25, coverage.ByRule);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, g.mm(g.t())) < 1e-10);
    }

    private static Tensor OrderOf(string how, ExampleBatch b) =>
        how switch
        {
            "grouped by class" => (b["y"] + (b["x"].select(1, 1).sigmoid() / 2)).argsort(),
            "flipped" or "head only" => arange(b.Count - 1, -1, -1),
            _ => b["x"].select(1, 0).argsort(),
        };

    private Func<ExampleBatch, Tensor> Permuted(string how) =>
        b =>
        {
            var order = OrderOf(how, b);
            var output =
                how == "head only"
                    ? _head.call(_body.call(b["x"]).tanh().index_select(0, order)).index_select(0, order.argsort())
                    : _model.call(b["x"].index_select(0, order)).index_select(0, order.argsort());
            return output.Squared().sum(1) * (b["y"] + 1);
        };

    private void AssertExact(int batchSize, Func<ExampleBatch, Tensor> loss, params (string, Tensor)[] data) =>
        AssertExact(_model, batchSize, loss, data);

    private static void AssertExact(nn.Module model, int batchSize, Func<ExampleBatch, Tensor> loss, params (string, Tensor)[] data)
    {
        PlainAutograd.AssertScores(model, loss, batchSize, data);
        PlainAutograd.AssertTrains(model, loss, 2, data);
    }

    private sealed class Packed : nn.Module<Tensor, Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.LSTM _lstm;
        private readonly TorchSharp.Modules.Linear _head;

        public Packed(TorchSharp.Modules.LSTM lstm, TorchSharp.Modules.Linear head)
            : base("Packed")
        {
            (_lstm, _head) = (lstm, head);
            register_module("lstm", lstm);
            register_module("head", head);
        }

        public override Tensor forward(Tensor x, Tensor lengths)
        {
            var order = lengths.argsort(descending: true);
            var packed = nn.utils.rnn.pack_padded_sequence(x.index_select(0, order), lengths.index_select(0, order), batch_first: true);
            var (_, last, _) = _lstm.call(packed, null);
            return _head.call(last.squeeze(0)).index_select(0, order.argsort());
        }
    }
}
