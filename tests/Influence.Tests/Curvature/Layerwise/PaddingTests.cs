using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Sequences of several lengths in one padded batch, against each of them alone and unpadded.</summary>
public sealed class PaddingTests : IDisposable
{
    private static readonly long[] Lengths = [5, 2, 4, 1, 3, 5, 2, 4];

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly LayerTrace _trace = new();
    private readonly Composite _model;
    private readonly Tensor _x;
    private readonly Tensor _mask;
    private readonly Tensor _y;

    public PaddingTests()
    {
        random.manual_seed(41);
        var (first, second, head) = (
            nn.Linear(3, 4, dtype: float64),
            nn.Linear(4, 4, hasBias: false, dtype: float64),
            nn.Linear(4, 3, dtype: float64)
        );

        // The head sees the mean over positions: one row for each example.
        _model = new Composite(
            x =>
            {
                var (values, mask) = (x.narrow(2, 0, 3), x.narrow(2, 3, 1));
                var hidden = _trace.Call("second", second, _trace.Call("first", first, values).tanh()).tanh();
                return _trace.Call("head", head, (hidden * mask).sum(1) / mask.sum(1));
            },
            ("first", first),
            ("second", second),
            ("head", head)
        );
        _model.eval();
        _mask = stack([.. Lengths.Select(n => arange(5).lt(n).to_type(ScalarType.Float64))], 0); // [N, T]

        // Padding is anything, and larger than the data.
        var values = randn([Lengths.Length, 5, 3], dtype: float64);
        values = where(_mask.unsqueeze(2).to_type(ScalarType.Bool), values, (values * 3) + 5);
        _x = cat([values, _mask.unsqueeze(2)], 2);
        _y = randint(0, 3, [Lengths.Length]);
    }

    public void Dispose() => _scope.Dispose();

    /// <summary>Float64, and a damped inverse of condition 1e3.</summary>
    [Theory]
    [InlineData(true, 8)]
    [InlineData(false, 8)]
    [InlineData(true, 3)]
    [InlineData(false, 1)]
    public void AMaskedBatchIsItsUnpaddedExamples(bool measured, int batch)
    {
        using var scope = NewDisposeScope();
        var masked = Scores(measured, batch, mask: true);
        var expected = Oracle(measured);

        Assert.True(SingleExampleLoop.RelativeError(masked, expected) < 1e-10);

        // Without the mask the positions that the loss does not depend on are found.
        Assert.True(SingleExampleLoop.RelativeError(Scores(measured, batch, mask: false), expected) < 1e-10);
    }

    /// <summary>Embedding, attention that masks, and a masked mean: more padding changes nothing, with and without a mask.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void MorePaddingOfTextsChangesNothing(bool measured, bool mask)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(7);
        var (embedding, query, key, value, head) = (
            nn.Embedding(11, 4, dtype: float64),
            nn.Linear(4, 4, dtype: float64),
            nn.Linear(4, 4, dtype: float64),
            nn.Linear(4, 4, dtype: float64),
            nn.Linear(4, 3, dtype: float64)
        );
        var model = new Composite(
            tokens =>
            {
                var real = tokens.ne(0); // [N, T]
                var h = embedding.call(tokens);
                var attention = (query.call(h).matmul(key.call(h).transpose(1, 2)) / 2)
                    .masked_fill(real.logical_not().unsqueeze(1), double.NegativeInfinity)
                    .softmax(-1);
                var weights = real.unsqueeze(2).to_type(ScalarType.Float64);
                return head.call((attention.matmul(value.call(h)).relu() * weights).sum(1) / weights.sum(1));
            },
            ("embedding", embedding),
            ("query", query),
            ("key", key),
            ("value", value),
            ("head", head)
        );
        model.eval();
        var tokens = randint(1, 11, [Lengths.Length, 5]) * _mask.to_type(ScalarType.Int64);
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]),
            PositionMask = mask ? b => b["x"].ne(0) : null,
        };
        Tensor Padded(long by)
        {
            var examples = Examples.FromTensors(("x", cat([tokens, zeros([Lengths.Length, by], ScalarType.Int64)], 1)), ("y", _y)) with
            {
                BatchSize = 3,
            };
            using LayerwisePreconditioner fit = measured
                ? Ekfac.Fit(task, examples, LayerwiseMethods.Empirical)
                : Kfac.Fit(task, examples, LayerwiseMethods.Empirical);
            return new InfluenceFunction(fit) { Tolerance = 0 }
                .Score(task, examples, examples)
                .Values;
        }

        Assert.True(SingleExampleLoop.RelativeError(Padded(11), Padded(0)) < 1e-9); // float64, and a damped inverse
    }

    /// <summary>A unit that is off in one layer makes no padding of its position: the covariances are those of all positions.</summary>
    [Fact]
    public void ADeadUnitDoesNotMakePadding()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        var (first, second) = (nn.Linear(3, 1, dtype: float64), nn.Linear(1, 2, dtype: float64));
        var model = new Composite(x => second.call(first.call(x).relu()).mean([1]), ("first", first), ("second", second));
        model.eval();
        var (x, y) = (randn([6, 4, 3], dtype: float64), randint(0, 2, [6]));
        Assert.True(first.call(x).le(0).any().item<bool>());
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        using var fit = Kfac.Fit(task, Examples.FromTensors(("x", x), ("y", y)), LayerwiseMethods.Empirical);

        var expected = x.Squared().sum() / 24 + 1;
        Assert.Equal(expected.item<double>(), ((KroneckerCurvature)fit.Blocks[0]!).Input.Values.sum().item<double>(), 1e-12);
    }

    /// <summary>Unpadded batches of their own lengths, the shortest first: what is planned by the first batch holds for all.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void BatchesOfSeveralLengths(bool measured)
    {
        using var scope = NewDisposeScope();
        var order = Enumerable.Range(0, Lengths.Length).OrderBy(i => Lengths[i]).ToArray();
        using var data = new Ragged([.. order.Select(i => (_x[i, ..(int)Lengths[i]], _y[i]))]);
        using var loader = new TorchSharp.Modules.DataLoader(data, 1, shuffle: false, device: CPU);
        var examples = Examples.FromLoader(loader);
        foreach (var tolerance in new[] { 0, 1e-3 })
        {
            var task = new InfluenceTask(_model) { TrainingLoss = b => Losses.CrossEntropy(_model.call(b["x"]), b["y"]) };
            using LayerwisePreconditioner fit = measured
                ? Ekfac.Fit(task, examples, LayerwiseMethods.Empirical)
                : Kfac.Fit(task, examples, LayerwiseMethods.Empirical);
            using var scores = new InfluenceFunction(fit) { Tolerance = tolerance }.Score(task, examples, examples);
            var index = tensor(order.Select(i => (long)i).ToArray());
            var expected = Oracle(measured).index_select(0, index).index_select(1, index);

            // The error of the tolerance is relative to sqrt(s(q,q) s(z,z)), at most the largest score here.
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < Math.Max(1e-10, tolerance));
        }
    }

    /// <summary>Examples of one position, some of them not counted: A is the mean over those that are.</summary>
    [Fact]
    public void ASinglePositionThatDoesNotCount()
    {
        using var scope = NewDisposeScope();
        var layer = nn.Linear(3, 2, dtype: float64);
        layer.eval();
        var (x, mask) = (_x[.., ..1, ..3], tensor(new double[] { 1, 0, 1, 1, 0, 1, 1, 1 }).unsqueeze(1));
        var task = new InfluenceTask(layer) { TrainingLoss = b => layer.call(b["x"]).Squared().sum(1, 2), PositionMask = b => b["m"] };
        using var fit = Kfac.Fit(task, Examples.FromTensors(("x", x), ("m", mask)) with { BatchSize = 3 }, LayerwiseMethods.Empirical);

        var trace = ((x.Squared().sum(1, 2) + 1) * mask.squeeze(1)).sum() / mask.sum();
        Assert.Equal(trace.item<double>(), ((KroneckerCurvature)fit.Blocks[0]!).Input.Values.sum().item<double>(), 1e-12);
    }

    private Tensor Scores(bool measured, int batch, bool mask)
    {
        var examples = Examples.FromTensors(("x", _x), ("y", _y)) with { BatchSize = batch };
        var task = new InfluenceTask(_model)
        {
            TrainingLoss = b => Losses.CrossEntropy(_model.call(b["x"]), b["y"]),
            PositionMask = mask ? b => b["x"].select(2, 3) : null,
        };
        using LayerwisePreconditioner fit = measured
            ? Ekfac.Fit(task, examples, LayerwiseMethods.Empirical)
            : Kfac.Fit(task, examples, LayerwiseMethods.Empirical);
        return new InfluenceFunction(fit) { Tolerance = 0 }
            .Score(task, examples, examples)
            .Values;
    }

    private Tensor Oracle(bool measured)
    {
        var unpadded = Lengths.Select((n, i) => new[] { _x[i..(i + 1), ..(int)n], _y[i..(i + 1)] }).ToList();
        Tensor Loss(Tensor[] t) => Losses.CrossEntropy(_model.call(t[0]), t[1]);
        return new KroneckerOracle(_trace, _model, Loss, unpadded).Scores(measured, mean => 0.1 * mean, _model, Loss, unpadded);
    }

    /// <summary>Items of several lengths.</summary>
    private sealed class Ragged((Tensor X, Tensor Y)[] items) : utils.data.Dataset
    {
        public override long Count => items.Length;

        public override Dictionary<string, Tensor> GetTensor(long index) =>
            new() { ["x"] = items[index].X.clone(), ["y"] = items[index].Y.clone() };
    }
}
