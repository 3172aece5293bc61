using Influence.Estimators;
using Influence.Stores;
using Influence.Tests.Oracles;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Stores;

/// <summary>Each form of projection against its matrix written out, and what all of them keep to.</summary>
public sealed class ProjectionFormTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Classifier _c = new();

    public void Dispose()
    {
        _c.Dispose();
        _folder.Dispose();
    }

    private static GradientProjection Of(GradientProjection.Kind form, int dimension) =>
        new()
        {
            Form = form,
            Dimension = dimension,
            Dtype = ScalarType.Float64,
            ExamplesPerShard = 4,
        };

    /// <summary>R' g with the signs of each part by its name, drawn once more here.</summary>
    [Theory]
    [InlineData(7)]
    [InlineData(40)]
    public void DenseIsItsMatrix(int dimension)
    {
        using var scope = NewDisposeScope();
        var store = GradientStore.Write(_c.Task(), _c.Train, Of(GradientProjection.Kind.Dense, dimension), _folder.Path("s"));
        Assert.Equal(dimension, store.Width);
        var expected = zeros([11, dimension], ScalarType.Float64);
        foreach (var (name, g) in Parts())
        {
            var signs = tensor(SignMatrix.Signs(0, name, "whole", g.shape[1], dimension))
                .reshape(g.shape[1], dimension)
                .to_type(ScalarType.Float64);
            expected += g.mm(signs) / Math.Sqrt(dimension);
        }

        Assert.True(SingleExampleLoop.RelativeError(Rows(store), expected) < 1e-6); // the scale is a float32
    }

    [Fact]
    public void ASketchIsItsColumns()
    {
        using var scope = NewDisposeScope();
        const int Dimension = 9;
        var store = GradientStore.Write(_c.Task(), _c.Train, Of(GradientProjection.Kind.CountSketch, Dimension), _folder.Path("s"));
        var expected = zeros([11, Dimension], ScalarType.Float64);
        foreach (var (name, g) in Parts())
        {
            var (columns, signs) = SignMatrix.Sketch(0, name, g.shape[1], Dimension);
            Assert.All(columns, column => Assert.InRange(column, 0, Dimension - 1));
            for (var p = 0; p < columns.Length; p++)
            {
                expected.select(1, columns[p]).add_(g.select(1, p) * (double)signs[p]);
            }
        }

        Assert.True(SingleExampleLoop.RelativeError(Rows(store), expected) < 1e-12);
    }

    /// <summary>U_o' G U_i with the leading eigenvectors of the data's own second moments; signs of eigenvectors are free.</summary>
    [Fact]
    public void PrincipalDirectionsAreEigenvectors()
    {
        using var scope = NewDisposeScope();
        const int Dimension = 3;
        var store = GradientStore.Write(_c.Task(), _c.Train, Of(GradientProjection.Kind.Principal, Dimension), _folder.Path("s"));
        var rows = Rows(store);
        long first = 0;
        foreach (var layer in store.Layers)
        {
            if (layer.Name == "hidden.weight")
            {
                var g = Parts().Single(p => p.Name == layer.Name).Gradients.reshape(11, layer.Outputs, layer.Inputs);
                var inputs = Leading(_c.X.t().mm(_c.X), Dimension);

                // G = d x', so G G' = d d' |x|^2, and d is G x / |x|^2.
                var d = g.matmul(_c.X.unsqueeze(2)).squeeze(2) / _c.X.Squared().sum(1, keepdim: true);
                var outputs = Leading(d.t().mm(d), Dimension);
                var expected = outputs.t().matmul(g).matmul(inputs).reshape(11, -1);
                Assert.True(SingleExampleLoop.RelativeError(rows.narrow(1, first, layer.Size()).abs(), expected.abs()) < 1e-8);
            }

            first += layer.Size();
        }

        // Another process, without the data.
        using var before = new StoredGradients(store).Score(_c.Task(), _c.Queries);
        using var after = new StoredGradients(GradientStore.Open(store.Folder)).Score(_c.Task(), _c.Queries);
        Assert.Equal(before.Values.data<double>().ToArray(), after.Values.data<double>().ToArray());

        static Tensor Leading(Tensor moments, int count) => linalg.eigh(moments).Item2.narrow(1, moments.shape[0] - count, count).flip(1);
    }

    /// <summary>The principal directions keep more of the data than as many random ones: that is what they are for.</summary>
    [Fact]
    public void PrincipalDirectionsKeepMore()
    {
        using var scope = NewDisposeScope();
        using var exact = new TracIn().Score(_c.Task(), _c.Train, _c.Queries);
        Assert.True(Error(GradientProjection.Kind.Principal) < Error(GradientProjection.Kind.TwoSided));

        double Error(GradientProjection.Kind form)
        {
            using var scores = new StoredGradients(GradientStore.Write(_c.Task(), _c.Train, Of(form, 3), _folder.Path($"{form}"))).Score(
                _c.Task(),
                _c.Queries
            );
            return SingleExampleLoop.RelativeError(scores.Values, exact.Values);
        }
    }

    [Theory]
    [InlineData(GradientProjection.Kind.TwoSided, 3)]
    [InlineData(GradientProjection.Kind.Principal, 3)]
    [InlineData(GradientProjection.Kind.Dense, 12)]
    [InlineData(GradientProjection.Kind.CountSketch, 12)]
    public void BatchesAndOrderDoNotMatter(GradientProjection.Kind form, int dimension)
    {
        using var scope = NewDisposeScope();
        using var expected = Score(_c.Train, "a");
        using var single = Score(_c.Train with { BatchSize = 1 }, "b");
        using var turned = Score(Examples.FromTensors(("x", _c.X.flip(0)), ("y", _c.Y.flip(0))) with { BatchSize = 3 }, "c");
        Assert.True(SingleExampleLoop.RelativeError(single.Values, expected.Values) < 1e-9);
        Assert.True(SingleExampleLoop.RelativeError(turned.Values.flip(1), expected.Values) < 1e-9);

        InfluenceScores Score(Examples train, string folder) =>
            new StoredGradients(GradientStore.Write(_c.Task(), train, Of(form, dimension), _folder.Path(folder))).Score(
                _c.Task(),
                _c.Queries
            );
    }

    /// <summary>A smaller store is, up to its scale, the beginning of a larger one.</summary>
    [Fact]
    public void ADensePrefixIsASmallerProjection()
    {
        using var scope = NewDisposeScope();
        var large = Rows(GradientStore.Write(_c.Task(), _c.Train, Of(GradientProjection.Kind.Dense, 36), _folder.Path("l"))) * 6;
        var small = Rows(GradientStore.Write(_c.Task(), _c.Train, Of(GradientProjection.Kind.Dense, 4), _folder.Path("s"))) * 2;
        Assert.True(SingleExampleLoop.RelativeError(large.narrow(1, 0, 4), small) < 1e-6);
    }

    [Theory]
    [InlineData(GradientProjection.Kind.Dense)]
    [InlineData(GradientProjection.Kind.CountSketch)]
    public void WithRoomForAllNothingIsProjected(GradientProjection.Kind form)
    {
        using var scope = NewDisposeScope();
        using var expected = new TracIn().Score(_c.Task(), _c.Train, _c.Queries);
        using var scores = new StoredGradients(GradientStore.Write(_c.Task(), _c.Train, Of(form, 1000), _folder.Path("s"))).Score(
            _c.Task(),
            _c.Queries
        );
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < 1e-12);
    }

    [Fact]
    public void AnotherFormIsRefused()
    {
        GradientStore.Write(_c.Task(), _c.Train, Of(GradientProjection.Kind.Dense, 12), _folder.Path("s"));
        Assert.Contains(
            "Form (the store's: dense; now: count sketch)",
            Assert
                .Throws<InfluenceException>(() =>
                    GradientStore.Write(_c.Task(), _c.Train, Of(GradientProjection.Kind.CountSketch, 12), _folder.Path("s"))
                )
                .Message,
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new GradientProjection { Form = (GradientProjection.Kind)9 });
    }

    /// <summary>Adam's update of each gradient, entry by entry, from the optimizer's own state; queries keep theirs, or are divided
    /// alike.</summary>
    [Theory]
    [InlineData(GradientProjection.UpdateDirection.AdamUpdate)]
    [InlineData(GradientProjection.UpdateDirection.AdamScaled)]
    public void DirectionsAreThoseOfAdam(GradientProjection.UpdateDirection direction)
    {
        using var scope = NewDisposeScope();
        using var optimizer = optim.Adam(_c.Model.parameters(), 1e-2, 0.8, 0.95, 1e-6);
        for (var step = 0; step < 3; step++)
        {
            optimizer.zero_grad();
            _c.Loss(ExampleBatch.Of([.. Enumerable.Range(0, 11).Select(i => (long)i)], ("x", _c.X), ("y", _c.Y))).mean().backward();
            optimizer.step();
        }

        optimizer.zero_grad();
        var checkpoint = Checkpoint.Save(_folder.Path("c.safetensors"), _c.Model, optimizer, 3);
        var projection = Of(GradientProjection.Kind.TwoSided, 1000) with { Direction = direction, Moments = checkpoint };
        var store = GradientStore.Write(_c.Task(), _c.Train, projection, _folder.Path("s"));
        using var scores = new StoredGradients(store).Score(_c.Task(), _c.Train, _c.Queries);
        var (expected, at) = (zeros([4, 11], ScalarType.Float64), 0);
        foreach (var name in new[] { "hidden.weight", "hidden.bias", "head.weight", "head.bias" })
        {
            var state = (Adam.State)((OptimizerHelper)optimizer).state_dict().State[at++];
            var (m, v) = (state.exp_avg.reshape(1, -1), state.exp_avg_sq.reshape(1, -1));
            var (g, q) = (_c.TrainGradients(n => n == name), _c.QueryGradients(n => n == name));
            var scale = (v / (1 - Math.Pow(0.95, 3))).sqrt() + 1e-6;
            var update =
                (((0.8 * m) + (0.2 * g)) / (1 - Math.Pow(0.8, 4)))
                / ((((0.95 * v) + (0.05 * g * g)) / (1 - Math.Pow(0.95, 4))).sqrt() + 1e-6);
            expected += direction == GradientProjection.UpdateDirection.AdamUpdate ? q.mm(update.t()) : (q / scale).mm((g / scale).t());
        }

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected) < 1e-10);
        Assert.Contains(
            "Moments",
            Assert
                .Throws<InfluenceException>(() =>
                    GradientStore.Write(_c.Task(), _c.Train, projection with { Moments = null }, _folder.Path("n"))
                )
                .Message,
            StringComparison.Ordinal
        );
    }

    private IEnumerable<(string Name, Tensor Gradients)> Parts() =>
        new[] { "hidden.weight", "hidden.bias", "head.weight", "head.bias" }.Select(name => (name, _c.TrainGradients(n => n == name)));

    private static Tensor Rows(GradientStore store)
    {
        var all = new List<Tensor>();
        store.Read((_, rows, _) => all.Add(rows.clone().MoveToOuterDisposeScope()), default);
        return cat(all, 0);
    }
}
