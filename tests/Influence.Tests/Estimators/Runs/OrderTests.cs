using Influence.Estimators;
using Influence.Numerics;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>The forecast effect of another order of the data, against training in that order.</summary>
public sealed class OrderTests : IDisposable
{
    private static readonly long[][] s_run =
    [
        [0, 1, 2],
        [3, 4, 5],
        [0, 4, 2],
        [1, 3, 5],
    ];

    private static readonly long[][] s_other =
    [
        [5, 1, 3],
        [0, 4, 2],
        [1, 3],
        [4, 2, 5],
    ];

    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>Steps on a quadratic loss are affine in the weights, and a linear measurement of them is exact: to rounding, and 1e-5's
    /// square in the differences.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(0.9)]
    public void QuadraticLossesUnderSgdAreExact(double momentum)
    {
        var (x, task, train, queries) = Linear();
        var run = new Magic
        {
            Batches = s_run,
            LearningRates = [0.05, 0.1, 0.05, 0.02],
            Update = new Magic.Sgd { Momentum = momentum, WeightDecay = 0.1 },
        };
        var predicted = run.ForecastOrders(task, train, queries, [s_run, s_other]);
        var (before, after) = (Ends(run, s_run), Ends(run, s_other));
        for (var q = 0; q < queries.Count; q++)
        {
            Assert.Equal(0, predicted[0, q]);
            Assert.Equal(after[q] - before[q], predicted[1, q], 1e-9);
            Assert.True(Math.Abs(predicted[1, q]) > 1e-3);
        }

        double[] Ends(Magic of, long[][] order)
        {
            var weights = (of with { Batches = order }).FinalWeights(task, train);
            using var scope = NewDisposeScope();
            return x.mv(tensor(weights)).data<double>().ToArray();
        }
    }

    /// <summary>A difference in the last step alone is the difference of two states, without any derivative.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(0.3)]
    public void TheLastStepIsExact(double? clip)
    {
        var (x, task, train, queries) = Linear();
        var run = new Magic
        {
            Batches = s_run,
            LearningRates = [0.05],
            ClipNorm = clip,
            Update = new Magic.AdamW { WeightDecay = 0.1 },
        };
        long[][] last = [.. s_run[..3], [0, 2, 4]];
        var predicted = run.ForecastOrders(task, train, queries, [last]);
        var expected = x.mv(tensor((run with { Batches = last }).FinalWeights(task, train)) - tensor(run.FinalWeights(task, train)));
        Assert.Equal(expected[0].item<double>(), predicted[0, 0], 1e-12);
        Assert.Equal(expected[1].item<double>(), predicted[0, 1], 1e-12);
    }

    /// <summary>A first-order forecast misses by the square of the distance: a tenth of the rate, a hundredth of the error.</summary>
    [Theory]
    [InlineData(false, null)]
    [InlineData(true, null)]
    [InlineData(true, 0.5)]
    public void TheErrorIsOfSecondOrder(bool adam, double? clip)
    {
        var (task, train, queries) = Network(24);
        long[][] batches = [.. Enumerable.Range(0, 12).Select(t => Enumerable.Range(0, 4).Select(i => (long)((4 * t) + i) % 24).ToArray())];
        long[][] reversed = [.. batches.Reverse()];
        var (large, small) = (Error(1e-3), Error(1e-4));
        Assert.True(small < large / 30, $"{small:E2} after {large:E2}");

        double Error(double rate)
        {
            var run = new Magic
            {
                Batches = batches,
                LearningRates = [rate],
                ClipNorm = clip,
                Update = adam ? new Magic.AdamW() : new Magic.Sgd { Momentum = 0.5 },
            };
            var predicted = run.ForecastOrders(task, train, queries, [reversed])[0, 0];
            return Math.Abs(
                predicted - (Loss(task, run with { Batches = reversed }, train, queries)[0] - Loss(task, run, train, queries)[0])
            );
        }
    }

    /// <summary>Thirty orders of sixty examples, trained for one epoch by AdamW: their losses are ranked as they come out.</summary>
    [Fact]
    public void ThirtyOrdersAreRankedAsTheyComeOut()
    {
        var (task, train, queries) = Network(60);
        var run = new Magic { Batches = Order(0), LearningRates = [3e-3] };
        long[][][] orders = [.. Enumerable.Range(1, 30).Select(Order)];
        var predicted = run.ForecastOrders(task, train, queries, orders);
        var before = Loss(task, run, train, queries);
        var after = orders.Select(order => Loss(task, run with { Batches = order }, train, queries)).ToArray();
        for (var q = 0; q < queries.Count; q++)
        {
            var correlation = Ranks.Spearman(
                [.. after.Select(losses => losses[q] - before[q])],
                [.. Enumerable.Range(0, orders.Length).Select(k => predicted[k, q])]
            );
            Assert.True(correlation > 0.9, $"{correlation:0.000}");
        }

        static long[][] Order(int seed)
        {
            var ids = Enumerable.Range(0, 60).Select(i => (long)i).ToArray();
            new Random(seed).Shuffle(ids);
            return [.. ids.Chunk(5)];
        }
    }

    [Fact]
    public void NothingIsLeftAndTheModelIsAsBefore()
    {
        var (task, train, queries) = Network(24);
        var before = task.Model.state_dict().Values.Select(v => v.data<double>().ToArray()).ToList();
        var run = new Magic { Batches = s_run, LearningRates = [0.01] };
        var live = LiveTensors.OnThisThread;
        run.ForecastOrders(task, train, queries, [s_other, s_run]);
        Assert.Equal(live, LiveTensors.OnThisThread);
        Assert.Equal(before, task.Model.state_dict().Values.Select(v => v.data<double>().ToArray()).ToList());
    }

    [Fact]
    public void OtherOrdersAreRefused()
    {
        var (task, train, queries) = Network(24);
        var run = new Magic { Batches = s_run, LearningRates = [0.01] };
        Assert.Contains("4 steps", Refused([.. s_run[..3]]), StringComparison.Ordinal);
        Assert.Contains("none twice", Refused([.. s_run[..3], [1, 1]]), StringComparison.Ordinal);
        Assert.Contains("ids 99", Refused([.. s_run[..3], [99]]), StringComparison.Ordinal);

        string Refused(long[][] order) =>
            Assert.Throws<InfluenceException>(() => run.ForecastOrders(task, train, queries, [order])).Message;
    }

    private static double[] Loss(InfluenceTask task, Magic run, Examples train, Examples queries)
    {
        using var scope = NewDisposeScope();
        var weights = tensor(run.FinalWeights(task, train));
        using var noGrad = no_grad();
        List<Tensor> parameters = [.. Influence.Gradients.ModelParameter.Find(task.Model).Select(p => (Tensor)p.Value)];
        var kept = parameters.Select(p => p.clone()).ToList();
        long start = 0;
        foreach (var parameter in parameters)
        {
            parameter.copy_(weights.narrow(0, start, parameter.numel()).reshape(parameter.shape));
            start += parameter.numel();
        }

        double[] losses = [.. queries.Batches().SelectMany(batch => task.TrainingLoss(batch).data<double>().ToArray())];
        foreach (var (parameter, value) in parameters.Zip(kept))
        {
            parameter.copy_(value);
        }

        return losses;
    }

    /// <summary>Its measurement is linear in the weights.</summary>
    private static (Tensor X, InfluenceTask Task, Examples Train, Examples Queries) Linear()
    {
        random.manual_seed(5);
        var model = nn.Linear(3, 1, hasBias: false, dtype: ScalarType.Float64);
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => Losses.SquaredError(model.call(b["x"]).squeeze(1), b["y"]),
            Measurement = b => model.call(b["x"]).squeeze(1),
        };
        var (x, y) = (randn([8, 3], ScalarType.Float64), randn([8], ScalarType.Float64));
        return (
            x.narrow(0, 6, 2),
            task,
            Examples.FromTensors(("x", x.narrow(0, 0, 6)), ("y", y.narrow(0, 0, 6))),
            Examples.FromTensors(("x", x.narrow(0, 6, 2)), ("y", y.narrow(0, 6, 2)))
        );
    }

    private static (InfluenceTask Task, Examples Train, Examples Queries) Network(int count)
    {
        random.manual_seed(3);
        var model = nn.Sequential(nn.Linear(3, 6, dtype: ScalarType.Float64), nn.Tanh(), nn.Linear(6, 1, dtype: ScalarType.Float64));
        var (x, y) = (randn([count + 2, 3], ScalarType.Float64), randn([count + 2], ScalarType.Float64));
        return (
            new InfluenceTask(model) { TrainingLoss = b => Losses.SquaredError(model.call(b["x"]).squeeze(1), b["y"]) },
            Examples.FromTensors(("x", x.narrow(0, 0, count)), ("y", y.narrow(0, 0, count))),
            Examples.FromTensors(("x", x.narrow(0, count, 2)), ("y", y.narrow(0, count, 2)))
        );
    }
}
