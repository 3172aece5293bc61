using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>What <see cref="InfluenceFunction.Tolerance"/> promises, on a net whose spectra fall over several decades.</summary>
public sealed class ToleranceTests : IDisposable
{
    private const int Train = 120;
    private const int Queries = 20;

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Composite _model;
    private readonly TorchSharp.Modules.Linear _first;
    private readonly Tensor[] _train;
    private readonly Tensor[] _queries;

    public ToleranceTests()
    {
        random.manual_seed(31);
        _first = nn.Linear(64, 32, dtype: float64);
        var second = nn.Linear(32, 10, dtype: float64);
        _model = new Composite(x => second.call(_first.call(x).relu()), ("first", _first), ("second", second));
        _model.eval();

        // Pixels of natural images: correlated, the k-th direction's variance falls as 1/k^2.
        var (directions, _) = linalg.qr(randn([64, 64], dtype: float64));
        var scales = 1 / arange(1, 65, float64);
        Tensor[] Make(long n) => [(randn([n, 64], dtype: float64) * scales).mm(directions.t()) * 4, randint(0, 10, [n])];
        (_train, _queries) = (Make(Train), Make(Queries));
    }

    public void Dispose() => _scope.Dispose();

    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    public void TheDefaultKeepsItsBoundForEveryPair(string method)
    {
        using var scope = NewDisposeScope();
        using var fit = LayerwiseMethods.Fit(method, Task(), Examples.FromTensors(_train));

        // Few queries are scored exactly, since nothing would be saved: the same ones many times are not.
        var many = Examples.FromTensors([.. _queries.Select(t => cat([.. Enumerable.Repeat(t, 1 + (4200 / Queries))], 0))]);
        using var scores = new InfluenceFunction(fit).Score(Task(), Examples.FromTensors(_train), many);
        using var loose = new InfluenceFunction(fit) { Tolerance = 0.05 }.Score(Task(), Examples.FromTensors(_train), many);

        var exact = Exact(method, _queries, _train);
        var largest = (
            Exact(method, _queries, _queries).diagonal().unsqueeze(1) * Exact(method, _train, _train).diagonal().unsqueeze(0)
        ).sqrt();
        var error = ((scores.Values.narrow(0, 0, Queries) - exact).abs() / largest).max().item<double>();
        Assert.True(error <= 1e-3, $"error {error:E2}");
        Assert.True(((loose.Values.narrow(0, 0, Queries) - exact).abs() / largest).max().item<double>() <= 0.05);
        if (method == "K-FAC")
        {
            // The products are indeed rounded; else this would test nothing.
            Assert.True(error > 1e-9, $"error {error:E2}");
        }
    }

    /// <summary>Zero is exact: float64 sums over 2,000 terms, against the formula by plain algebra.</summary>
    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    public void ZeroIsExact(string method)
    {
        using var scope = NewDisposeScope();
        using var fit = LayerwiseMethods.Fit(method, Task(), Examples.FromTensors(_train));
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(
            Task(),
            Examples.FromTensors(_train),
            Examples.FromTensors(_queries)
        );

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, Exact(method, _queries, _train)) < 1e-10);
    }

    [Theory]
    [InlineData(-1e-3)]
    [InlineData(1)]
    [InlineData(double.NaN)]
    public void NoNumberBetweenZeroAndOneIsRefused(double tolerance)
    {
        using var scope = NewDisposeScope();
        using var fit = NoCurvature.Fit(Task(), Examples.FromTensors(_train));
        Assert.Throws<InfluenceException>(() => new InfluenceFunction(fit) { Tolerance = tolerance });
    }

    private InfluenceTask Task() => new(_model) { TrainingLoss = b => Loss([b[0], b[1]]) };

    private Tensor Loss(Tensor[] inputs) => Losses.CrossEntropy(_model.call(inputs[0]), inputs[1]);

    /// <summary>The formula layer by layer; both covariances from the loop's gradients, whose bias column is the output gradient.</summary>
    private Tensor Exact(string method, Tensor[] queries, Tensor[] train)
    {
        var total = zeros([queries[0].shape[0], train[0].shape[0]], float64);
        foreach (var layer in new[] { "first", "second" })
        {
            var g = Gradients(_train, layer); // [N, O, I']
            var d = g.select(2, g.shape[2] - 1); // [N, O]
            var x = layer == "first" ? _train[0] : _first.call(_train[0]).relu().detach();
            var a = cat([x, ones([Train, 1], float64)], 1); // [N, I']
            var (la, qa) = linalg.eigh(a.t().mm(a) / Train);
            var (ls, qs) = linalg.eigh(d.t().mm(d) / Train);
            var values = method == "K-FAC" ? ls.clamp_min(0).outer(la.clamp_min(0)) : Rotated(g).Squared().mean([0]);
            var weighted = Rotated(Gradients(queries, layer)) / (values + (0.1 * values.mean()));
            total += weighted.flatten(1).mm(Rotated(Gradients(train, layer)).flatten(1).t());

            Tensor Rotated(Tensor gradients) => qs.t().matmul(gradients).matmul(qa);
        }

        return total;
    }

    private Tensor Gradients(Tensor[] inputs, string layer)
    {
        var weight = SingleExampleLoop.Gradients(_model, Loss, inputs, n => n == layer + ".weight");
        var bias = SingleExampleLoop.Gradients(_model, Loss, inputs, n => n == layer + ".bias");
        return cat([weight.reshape(bias.shape[0], bias.shape[1], -1), bias.unsqueeze(2)], 2);
    }
}
