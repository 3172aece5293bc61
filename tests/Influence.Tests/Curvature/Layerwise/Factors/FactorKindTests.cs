using Influence.Curvature;
using Influence.Distributed;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Shampoo's and TKFAC's factors against loops over single examples and single positions, in float64.</summary>
public sealed class FactorKindTests : IDisposable
{
    /// <summary>Float64; inverses of spectra over about four digits.</summary>
    private const double Rounding = 1e-8;

    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public static TheoryData<string, Ekfac.FactorKind, bool> Models
    {
        get
        {
            var data = new TheoryData<string, Ekfac.FactorKind, bool>();
            foreach (var name in TracedModel.Names)
            {
                foreach (var factors in new[] { Ekfac.FactorKind.Shampoo, Ekfac.FactorKind.Tkfac })
                {
                    data.Add(name, factors, true);
                    data.Add(name, factors, false);
                }
            }

            return data;
        }
    }

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    /// <summary>Linear layers of single rows, convolutions and sequences; batches of one, of three and whole.</summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void ScoresAreThoseOfTheLoop(string name, Ekfac.FactorKind factors, bool measured)
    {
        var made = TracedModel.Make(name);
        var train = made.Inputs(11);
        var examples = Examples.FromTensors(train);
        var (expected, others) = (Oracle(factors), Oracle(Ekfac.FactorKind.Kfac));
        foreach (var batch in new[] { 1, 3, 11 })
        {
            var own = examples with { BatchSize = batch };
            using var fit = Fit(measured, made.Task(), own, factors);
            using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(made.Task(), own, own);
            Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < Rounding);
        }

        // And they are not K-FAC's.
        Assert.True(SingleExampleLoop.RelativeError(others, expected) > 1e-3);

        Tensor Oracle(Ekfac.FactorKind kind) =>
            made.Oracle(train, factors: kind).Scores(measured, mean => 0.1 * mean, made.Model, made.Loss, TracedModel.One(train));
    }

    /// <summary>Two sequences of two positions, methods-sheet numbers: the factors themselves, and the trace.</summary>
    [Theory]
    [InlineData(Ekfac.FactorKind.Shampoo, new double[] { 2.5, 0.5, 0.5, 3 }, new double[] { 3, 0.5, 0.5, 2.5 }, 5.5)]
    [InlineData(Ekfac.FactorKind.Tkfac, new double[] { 3.25, 1, 1, 1.5 }, new double[] { 1.5, -0.75, -0.75, 3.25 }, 4.75)]
    public void TwoSequences(Ekfac.FactorKind factors, double[] output, double[] input, double trace)
    {
        var layer = nn.Linear(2, 2, hasBias: false, dtype: float64);
        layer.eval();
        var task = new InfluenceTask(layer) { TrainingLoss = b => (layer.call(b["x"]) * b["d"]).sum(1, 2) };
        var train = Examples.FromTensors(
            ("x", tensor(new double[] { 1, 0, 1, 1, 0, 2, 1, -1 }).reshape(2, 2, 2)),
            ("d", tensor(new double[] { 1, 0, 0, 1, 1, 1, 2, 0 }).reshape(2, 2, 2))
        );
        using var fit = Fit(measured: false, task, train, factors);
        var curvature = Assert.IsType<KroneckerCurvature>(Assert.Single(fit.Blocks));

        AssertClose(output, Matrix(curvature.Output));
        AssertClose([.. input.Select(x => x / trace)], Matrix(curvature.Input));
        Assert.Equal(trace, 4 * Assert.Single(fit.MeanEigenvalues).MeanEigenvalue, 1e-12);

        static Tensor Matrix(FactorBasis basis) => basis.Vectors[0].mm(diag(basis.Values)).mm(basis.Vectors[0].t());
    }

    /// <summary>Groups of channels: each has its own factors, of its own part of each example's gradient. Where the kernel covers the whole
    /// input there is one position, and TKFAC's are the same.</summary>
    [Theory]
    [InlineData(Ekfac.FactorKind.Shampoo, 3, true)]
    [InlineData(Ekfac.FactorKind.Shampoo, 3, false)]
    [InlineData(Ekfac.FactorKind.Shampoo, 2, false)]
    [InlineData(Ekfac.FactorKind.Tkfac, 3, false)]
    public void GroupsOfChannels(Ekfac.FactorKind factors, int kernel, bool measured)
    {
        random.manual_seed(9);
        var conv = nn.Conv2d(4, 6, kernel, groups: 2, dtype: float64);
        var model = new Composite(x => conv.call(x).tanh().flatten(1), ("conv", conv));
        var made = new ModelCase("groups", model, t => model.call(t[0]).sin().sum(1).exp(), n => [randn([n, 4, 3, 3], dtype: float64)]);
        var inputs = made.Inputs(9);
        var examples = Examples.FromTensors(inputs) with { BatchSize = 4 };
        using var fit = Fit(measured, made.Task(), examples, factors);
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(made.Task(), examples, examples);

        var gradients = SingleExampleLoop.Gradients(model, made.Loss, inputs); // [N, 6*2*k*k + 6], weights then biases
        var all = cat(
            [
                gradients.narrow(1, 0, gradients.shape[1] - 6).reshape(9, 2, 3, -1),
                gradients.narrow(1, gradients.shape[1] - 6, 6).reshape(9, 2, 3, 1),
            ],
            3
        ); // [N, g, O/g, I']
        var expected = zeros([9, 9], float64);
        var (matrices, trace) = (new List<Tensor>(), 0.0);
        for (var group = 0; group < 2; group++)
        {
            var g = all.select(1, group); // [N, O/g, I']
            var (l, r) = (g.bmm(g.transpose(1, 2)).mean([0]), g.transpose(1, 2).bmm(g).mean([0]));
            var ((ls, ql), (lr, qr)) = (linalg.eigh(l), linalg.eigh(r));
            var q = ql.kron(qr);
            var values = measured ? g.flatten(1).mm(q).Squared().mean([0]) : ls.kron(lr) / r.trace();
            matrices.Add(q.mm(diag(values)).mm(q.t()));
            trace += values.sum().item<double>();
        }

        var size = matrices[0].shape[0];
        for (var group = 0; group < 2; group++)
        {
            var g = all.select(1, group).flatten(1);
            expected += g.mm(linalg.inv(matrices[group] + (0.1 * trace / (2 * size) * eye(size, dtype: float64)))).mm(g.t());
        }

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < Rounding);
    }

    /// <summary>An embedding table: tokens as they are, with what each brings of the trace; a token may come twice in an example.</summary>
    [Theory]
    [InlineData(Ekfac.FactorKind.Shampoo, true)]
    [InlineData(Ekfac.FactorKind.Shampoo, false)]
    [InlineData(Ekfac.FactorKind.Tkfac, true)]
    [InlineData(Ekfac.FactorKind.Tkfac, false)]
    public void AnEmbeddingTable(Ekfac.FactorKind factors, bool measured)
    {
        random.manual_seed(10);
        var table = nn.Embedding(5, 3, dtype: float64);
        table.eval();
        var task = new InfluenceTask(table) { TrainingLoss = b => (table.call(b["x"]) * b["d"]).sum(1, 2) };
        var (tokens, d) = (randint(0, 5, [8, 4]), randn([8, 4, 3], dtype: float64));
        var train = Examples.FromTensors(("x", tokens), ("d", d)) with { BatchSize = 3 };
        using var fit = Fit(measured, task, train, factors);
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, train, train);

        var g = zeros([8, 5, 3], float64); // [N, V, D]
        var (ofTokens, cover) = (zeros([5], float64), zeros([3, 3], float64));
        for (var z = 0; z < 8; z++)
        {
            for (var t = 0; t < 4; t++)
            {
                var v = tokens[z, t].item<long>();
                g[z, v].add_(d[z, t]);
                if (factors == Ekfac.FactorKind.Tkfac)
                {
                    ofTokens[v].add_(d[z, t].dot(d[z, t]) / 32);
                    cover.add_(d[z, t].outer(d[z, t]) / 32);
                }
            }

            if (factors == Ekfac.FactorKind.Shampoo)
            {
                ofTokens.add_(g[z].Squared().sum(1) / 8);
                cover.add_(g[z].t().mm(g[z]) / 8);
            }
        }

        var (lambda, q) = linalg.eigh(cover);
        var basis = eye(5, dtype: float64).kron(q.contiguous());
        var values = measured ? g.flatten(1).mm(basis).Squared().mean([0]) : (ofTokens / ofTokens.sum()).kron(lambda);
        var matrix = basis.mm(diag(values)).mm(basis.t());
        var expected = g.flatten(1).mm(linalg.inv(matrix + (0.1 * values.mean() * eye(15, dtype: float64)))).mm(g.flatten(1).t());
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < Rounding);
    }

    /// <summary>Factors in diagonal blocks keep the trace: each example's squared norm stands on the diagonal.</summary>
    [Theory]
    [InlineData(Ekfac.FactorKind.Shampoo)]
    [InlineData(Ekfac.FactorKind.Tkfac)]
    public void FactorsInBlocks(Ekfac.FactorKind factors)
    {
        var made = TracedModel.Make("mlp");
        var train = made.Inputs(11);
        var examples = Examples.FromTensors(train);
        using var fit = Kfac.Fit(made.Task(), examples, LayerwiseMethods.Empirical with { Factors = factors, MaximumFactorSize = 3 });
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(made.Task(), examples, examples);
        var expected = made.Oracle(train, layer => layer == "first" ? ([3, 3], [3, 3]) : ([2, 2, 3], [3]), factors)
            .Scores(false, mean => 0.1 * mean, made.Model, made.Loss, TracedModel.One(train));
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < Rounding);
    }

    [Theory]
    [InlineData("EC-Shampoo", Ekfac.FactorKind.Shampoo, true)]
    [InlineData("EC-TKFAC", Ekfac.FactorKind.Tkfac, true)]
    [InlineData("Shampoo", Ekfac.FactorKind.Shampoo, false)]
    [InlineData("TKFAC", Ekfac.FactorKind.Tkfac, false)]
    public void AFileHasItsName(string name, Ekfac.FactorKind factors, bool measured)
    {
        var made = TracedModel.Make("attention");
        var examples = Examples.FromTensors(made.Inputs(7));
        using var fit = Fit(measured, made.Task(), examples, factors);
        Assert.Equal(name, fit.Info.Method);
        var path = _folder.Path("fit.safetensors");
        fit.Save(path);
        using LayerwisePreconditioner loaded = measured ? Ekfac.Load(path) : Kfac.Load(path);
        using var whatever = Preconditioner.Load(path);
        Assert.Equal(fit.Info, loaded.Info);
        Assert.Equal(fit.Info, whatever.Info);
        using var expected = new InfluenceFunction(fit).Score(made.Task(), examples, examples);
        using var scores = new InfluenceFunction(loaded).Score(made.Task(), examples, examples);
        Assert.Equal($"influence function ({name})", scores.Metadata.Estimator);
        Assert.Equal(expected.Values.contiguous().data<double>().ToArray(), scores.Values.contiguous().data<double>().ToArray());
        var thrown = Assert.Throws<InfluenceException>(() => measured ? (Preconditioner)Kfac.Load(path) : Ekfac.Load(path));
        Assert.Contains(name, thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>In units that a folder keeps the sums are the same, rounded otherwise; the folder tells one kind from another.</summary>
    [Theory]
    [InlineData(Ekfac.FactorKind.Shampoo, true)]
    [InlineData(Ekfac.FactorKind.Shampoo, false)]
    [InlineData(Ekfac.FactorKind.Tkfac, false)]
    public void InUnits(Ekfac.FactorKind factors, bool measured)
    {
        var made = TracedModel.Make("attention");
        var examples = Examples.FromTensors(made.Inputs(7)) with { BatchSize = 2 };
        var work = new Work(_folder.Path("fit")) { ExamplesPerUnit = 3 };
        using var whole = Fit(measured, made.Task(), examples, factors);
        using var fit = Fit(measured, made.Task(), examples, factors, work);
        using var expected = new InfluenceFunction(whole) { Tolerance = 0 }.Score(made.Task(), examples, examples);
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(made.Task(), examples, examples);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < Rounding);
        Assert.Throws<InfluenceException>(() => Fit(measured, made.Task(), examples, Ekfac.FactorKind.Kfac, work));
    }

    [Fact]
    public void WhatHasNoSuchFactorsIsRefused()
    {
        var made = Cases.Make("tied embedding and head");
        var examples = Examples.FromTensors(made.Inputs(5));
        var options = LayerwiseMethods.Empirical with { Factors = Ekfac.FactorKind.Shampoo };
        var tied = Assert.Throws<InfluenceException>(() => Ekfac.Fit(made.Task(), examples, options));
        Assert.Contains("embedding and head at once", tied.Message, StringComparison.Ordinal);

        // Its products have none either way.
        Kfac.Fit(made.Task(), examples, options).Dispose();
        var diagonal = Assert.Throws<InfluenceException>(() => DiagonalFisher.Fit(made.Task(), examples, options));
        Assert.Contains("a diagonal has no factors", diagonal.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => DiagonalFisher.Estimate(made.Task(), examples, options));
        Assert.Throws<InfluenceException>(() => options with { Factors = (Ekfac.FactorKind)7 });
    }

    private static LayerwisePreconditioner Fit(
        bool measured,
        InfluenceTask task,
        Examples train,
        Ekfac.FactorKind factors,
        Work? work = null
    )
    {
        var options = LayerwiseMethods.Empirical with { Factors = factors, Work = work };
        return measured ? Ekfac.Fit(task, train, options) : Kfac.Fit(task, train, options);
    }

    private static void AssertClose(double[] expected, Tensor actual) =>
        Assert.All(expected.Zip(actual.contiguous().data<double>().ToArray()), p => Assert.Equal(p.First, p.Second, 1e-12));
}
