using Influence.Curvature;
using Influence.Distributed;
using Influence.Estimators;
using Influence.Tests.Curvature;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Distributed;

/// <summary>A fit in units is the fit: every layer and use by every layer-wise method.</summary>
public sealed class UnitFitTests : IDisposable
{
    /// <summary>
    /// Float64, and sums in another order: rounding of 1e-16 turns eigenvectors by as much over the gap of their eigenvalues, and where
    /// weights 1/(eigenvalue + damping) range over four digits that is far below this.
    /// </summary>
    private const double Rounding = 1e-8;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Each form of block, shared and called twice, in one call and in three units of batches that do not fill them.</summary>
    [Theory]
    [InlineData("mlp")]
    [InlineData("linear over positions")]
    [InlineData("conv2d")]
    [InlineData("conv2d grouped")]
    [InlineData("embedding with padding index")]
    [InlineData("layer norm")]
    [InlineData("attention causal")]
    [InlineData("tied linear twice")]
    [InlineData("tied embedding and head")]
    [InlineData("layer called twice")]
    [InlineData("merged rows")]
    [InlineData("raw parameter")]
    [InlineData("lstm")]
    [InlineData("native encoder layer gelu")]
    [InlineData("transposed linear")]
    [InlineData("frozen bias")]
    [InlineData("embedding bag mean")]
    [InlineData("bilinear")]
    public void IsTheFitOfOneCall(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var (train, queries) = (Examples.FromTensors(made.Inputs(9)) with { BatchSize = 2 }, Examples.FromTensors(made.Inputs(4)));
        foreach (var method in LayerwiseMethods.All.Where(m => m != "gradient dot product"))
        {
            using var whole = LayerwiseMethods.Fit(method, made.Task(), train);
            using var units = LayerwiseMethods.Fit(method, made.Task(), train, Options(method, 4));
            using var expected = new InfluenceFunction(whole) { Tolerance = 0 }.Score(made.Task(), train, queries);
            using var scores = new InfluenceFunction(units) { Tolerance = 0 }.Score(made.Task(), train, queries);
            var error = (scores.Values - expected.Values).abs().max().item<double>();
            Assert.True(error <= Rounding * expected.Values.abs().max().item<double>(), $"{name}, {method}: {error}");
            Assert.Equal(whole.Info with { Integrity = string.Empty, Cost = null }, units.Info with { Cost = null });
            Assert.NotNull(units.Info.Cost);
        }
    }

    /// <summary>A table that is embedding and head, over batches that a table of two passes of labels is drawn for.</summary>
    [Fact]
    public void ATiedTableAndDrawnLabels()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(11);
        var (table, head) = (nn.Embedding(9, 4, dtype: float64), nn.Linear(4, 9, dtype: float64));
        head.weight = table.weight!;
        var model = new Composite(x => head.call(table.call(x).cumsum(1).tanh()), ("table", table), ("head", head));
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var train = Examples.FromTensors(("x", randint(0, 9, [20, 5])), ("y", randint(0, 9, [20, 5]))) with { BatchSize = 3 };
        var options = new Ekfac.Options { LabelDraws = 3, Seed = 4 };
        using var whole = Ekfac.Fit(task, train, options);
        using var units = Ekfac.Fit(task, train, options with { Work = new Work(_folder.Path("tied")) { ExamplesPerUnit = 6 } });
        using var expected = new InfluenceFunction(whole) { Tolerance = 0 }.Score(task, train, train);
        using var scores = new InfluenceFunction(units) { Tolerance = 0 }.Score(task, train, train);
        Assert.True((scores.Values - expected.Values).abs().max().item<double>() <= Rounding * expected.Values.abs().max().item<double>());
    }

    /// <summary>However the folder is come by: begun and cut off after any number of batches, by one process after another, the file is the
    /// same.</summary>
    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    [InlineData("diagonal Fisher")]
    public void WhatIsCutOffGoesOnToTheSameBytes(string method)
    {
        using var classifier = new Classifier(23);
        var train = classifier.Train with { BatchSize = 3 };
        LayerwiseMethods.Fit(method, classifier.Task(), train, Options("whole", 6)).Dispose();
        var expected = Result("whole");
        var cuts = 0;
        for (var after = 1; ; after++)
        {
            using var source = new CancellationTokenSource();
            var left = after;
            try
            {
                LayerwiseMethods
                    .FitLayerwise(
                        method,
                        classifier.Task(),
                        train,
                        Options("cut", 6),
                        new Reports(_ =>
                        {
                            if (--left == 0)
                            {
                                source.Cancel();
                            }
                        }),
                        source.Token
                    )
                    .Dispose();
                break;
            }
            catch (OperationCanceledException)
            {
                cuts++;
            }
        }

        Assert.True(cuts >= 3, $"{cuts} calls were cut off.");
        Assert.Equal(expected, Result("cut"));

        // A call that finds all done gives the same fit.
        using var again = LayerwiseMethods.Fit(method, classifier.Task(), train, Options("cut", 6));
        using var loaded = LayerwiseMethods.Load(method, Path.Combine(_folder.Path("whole"), "result.safetensors"));
        Assert.Equal(((LayerwisePreconditioner)again).MeanEigenvalues, loaded.MeanEigenvalues);
        Assert.Empty(Directory.EnumerateFiles(_folder.Path("cut"), "s*-0*.safetensors"));
    }

    private string Result(string name) => Convert.ToHexString(File.ReadAllBytes(Path.Combine(_folder.Path(name), "result.safetensors")));

    private Ekfac.Options Options(string name, int perUnit) =>
        LayerwiseMethods.Empirical with
        {
            Work = new Work(_folder.Path(name)) { ExamplesPerUnit = perUnit },
        };
}
