using Influence.Curvature;
using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>Stores whose gradients have the curvature in them: their dot products are influence scores.</summary>
public sealed class PreconditionedStoreTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose()
    {
        _scope.Dispose();
        _folder.Dispose();
    }

    public static TheoryData<string, string> Models
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (var name in new[] { "mlp", "linear without bias", "conv2d", "conv2d grouped", "embedding", "layer norm" })
            {
                data.Add(name, "EK-FAC");
            }

            data.Add("mlp", "K-FAC");
            data.Add("mlp", "diagonal Fisher");
            return data;
        }
    }

    /// <summary>What makes a curvature of the stored gradients would apply one twice.</summary>
    [Fact]
    public void EstimatorsWithACurvatureOfTheirOwnRefuseThem()
    {
        var made = Cases.Make("mlp");
        var train = Examples.FromTensors(made.Inputs(9));
        using var fit = Curvature.LayerwiseMethods.FitLayerwise("EK-FAC", made.Task(), train);
        var store = GradientStore.Write(made.Task(), train, Of(fit, 4), _folder.Path("s"));
        Assert.Contains("in them already", Assert.Throws<InfluenceException>(() => new TrackStar(store)).Message, StringComparison.Ordinal);
        Assert.Contains("something else", Assert.Throws<InfluenceException>(() => new Trak(store)).Message, StringComparison.Ordinal);
    }

    /// <summary>With every side kept whole: sums over a few hundred terms in float64, divided by eigenvalues of up to 1e4 times another
    /// size.</summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void AtFullDimensionTheyAreTheScores(string name, string method)
    {
        var made = Cases.Make(name);
        var task = made.Task();
        var (train, queries) = (Examples.FromTensors(made.Inputs(9)), Examples.FromTensors(made.Inputs(4)));
        using var fit = Curvature.LayerwiseMethods.FitLayerwise(method, task, train);
        var store = GradientStore.Write(task, train, Of(fit, 4096), _folder.Path("s"));
        using var expected = new InfluenceFunction(fit) { Tolerance = 0 }.Score(task, train, queries);
        using var found = new StoredGradients(GradientStore.Open(store.Folder)).Score(task, queries);
        Assert.True(SingleExampleLoop.RelativeError(found.Values, expected.Values) < 1e-9);
        Assert.Equal(expected.Metadata.LeaveOneOutFactor, found.Metadata.LeaveOneOutFactor);
        Assert.Equal(expected.Metadata.Unit, found.Metadata.Unit);

        // The exact norms are those in the metric.
        var self = new InfluenceFunction(fit).SelfInfluence(task, train).Values;
        var norms = new List<double>();
        store.Read((_, _, lengths) => norms.AddRange(lengths.to_type(ScalarType.Float64).data<double>().ToArray()), default);
        foreach (var (squared, norm) in self.Zip(norms))
        {
            Assert.Equal(Math.Sqrt(Math.Max(0, squared)), norm, 1e-7);
        }
    }

    /// <summary>In few dimensions: the turned sides give what projecting the written-out gradients gives.</summary>
    [Theory]
    [InlineData(GradientProjection.Kind.TwoSided)]
    [InlineData(GradientProjection.Kind.Principal)]
    [InlineData(GradientProjection.Kind.CountSketch)]
    [InlineData(GradientProjection.Kind.Dense)]
    public void InFewDimensionsTheyAreTheProjectedRoots(GradientProjection.Kind form)
    {
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train);
        var own = Of(fit, 3) with { Form = form, Damping = Damping.Absolute(0.01) };
        var store = GradientStore.Write(c.Task(), c.Train, own, _folder.Path("s"));
        var rows = Rows(store);
        using var queries = new StoredGradients(store).Score(c.Task(), c.Train);
        Assert.True(SingleExampleLoop.RelativeError(queries.Values, rows.mm(rows.t())) < 1e-9);

        // P^(1/2) g = P (P^(1/2) P^-1) g cannot be had from outside; but averaged over seeds its projection has the scores for products.
        if (form is GradientProjection.Kind.TwoSided)
        {
            const int Seeds = 100;
            var mean = zeros_like(queries.Values);
            for (var seed = 0; seed < Seeds; seed++)
            {
                var drawn = Rows(GradientStore.Write(c.Task(), c.Train, own with { Seed = seed }, _folder.Path($"{seed}")));
                mean += drawn.mm(drawn.t()) / Seeds;
            }

            using var exact = new InfluenceFunction(fit) { Tolerance = 0, Damping = Damping.Absolute(0.01) }.Score(
                c.Task(),
                c.Train,
                c.Train
            );

            // One draw in 3 by 3 dimensions is off by about as much as there is; the mean of 100 by a tenth.
            Assert.InRange(SingleExampleLoop.RelativeError(mean, exact.Values), 1e-6, 0.35);
        }
    }

    [Fact]
    public void WhatDoesNotFitIsRefused()
    {
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train);
        using var other = Ekfac.Fit(c.Task(), c.Train, new Ekfac.Options { Fisher = Fisher.Empirical });
        var own = Of(fit, 3);
        Says("Preconditioner is missing", () => Write(own with { Preconditioner = null, Damping = null }, "a"));
        Says("change nothing", () => Write(own with { Direction = GradientProjection.UpdateDirection.Gradient }, "a"));
        var store = Write(own, "s");
        Assert.Equal(store.Ids, Write(own, "s").Ids);
        Says("the direction", () => Write(own with { Preconditioner = other }, "s"));
        Says("the direction", () => Write(own with { Damping = Damping.Absolute(1) }, "s"));
        Says(
            "Leave Damping out",
            () =>
                new StoredGradients(store) { Damping = Damping.Default }
                    .Score(c.Task(), c.Train)
                    .Dispose()
        );
        var path = Path.Combine(store.Folder, "curvature.safetensors");
        var bytes = File.ReadAllBytes(path);
        bytes[^1] ^= 1;
        File.WriteAllBytes(path, bytes);
        Says("is damaged", () => new StoredGradients(store).Score(c.Task(), c.Train).Dispose());
        using (no_grad())
        {
            c.Model.parameters().First().add_(0.1);
        }

        Says("weights", () => Write(own, "b"));

        GradientStore Write(GradientProjection projection, string name) =>
            GradientStore.Write(c.Task(), c.Train, projection, _folder.Path(name));

        static void Says(string expected, Action call) =>
            Assert.Contains(expected, Assert.Throws<InfluenceException>(call).Message, StringComparison.Ordinal);
    }

    private static GradientProjection Of(LayerwisePreconditioner fit, int dimension) =>
        new()
        {
            Direction = GradientProjection.UpdateDirection.Preconditioned,
            Preconditioner = fit,
            Dimension = dimension,
            Dtype = ScalarType.Float64,
            ExamplesPerShard = 4,
        };

    private static Tensor Rows(GradientStore store)
    {
        var all = new List<Tensor>();
        store.Read((_, rows, _) => all.Add(rows.clone().MoveToOuterDisposeScope()), default);
        return cat(all, 0);
    }
}
