using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Products in bfloat16: within the stated bound of those in float32, and only where they are asked for.</summary>
public sealed class ProductTypeTests : IDisposable
{
    private const int Rows = 130;
    private const int Queries = 120;
    private readonly DisposeScope _scope = NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>
    /// One position an example: by Cauchy and Schwarz no product is off by more than the bound times the roots of both self-products,
    /// which is what the remarks of the arithmetic derive. Most are off by far less, since roundings are as often up as down.
    /// </summary>
    [Theory]
    [InlineData("TracIn", 0.0)]
    [InlineData("cosine", 0.0)]
    [InlineData("EK-FAC", 0.0)]
    [InlineData("EK-FAC", 1e-3)]
    [InlineData("K-FAC", 1e-3)]
    [InlineData("diagonal Fisher", 0.0)]
    public void StaysWithinTheBound(string method, double tolerance)
    {
        random.manual_seed(5);
        var (first, second) = (nn.Linear(300, 256), nn.Linear(256, 4));
        var model = new Composite(x => second.call(first.call(x).tanh()), ("first", first), ("second", second));
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var (train, queries) = (Data(Rows), Data(Queries));
        using var fit = method switch
        {
            "EK-FAC" => Ekfac.Fit(task, train),
            "K-FAC" => Kfac.Fit(task, train),
            "diagonal Fisher" => DiagonalFisher.Fit(task, train),
            _ => (Preconditioner?)null,
        };
        var (own, rounded) = (Score(null), Score(ScalarType.BFloat16));
        var largest = method == "cosine" ? ones(1) : Self(queries).unsqueeze(1) * Self(train).unsqueeze(0); // [Q, N], squared
        var errors = (rounded - own).abs() / largest.sqrt();
        var (most, mean) = (errors.max().item<double>(), errors.Squared().mean().sqrt().item<double>());
        Assert.InRange(most, 1e-7, ProductArithmetic.Bound + (2 * tolerance));
        Assert.True(mean < 1e-3 + tolerance, $"{mean}");

        Tensor Score(ScalarType? type)
        {
            using var scores = Estimator(type).Score(task, train, queries);
            Assert.Equal(type is not null, scores.Metadata.Notes.Contains("bfloat16", StringComparison.Ordinal));
            return scores.Values.to_type(float64);
        }

        IPairEstimator Estimator(ScalarType? type) =>
            fit is null
                ? new TracIn
                {
                    ProductType = type,
                    Similarity = method == "cosine" ? TracIn.GradientSimilarity.Cosine : TracIn.GradientSimilarity.Dot,
                }
                : new InfluenceFunction(fit) { ProductType = type, Tolerance = tolerance };

        Tensor Self(Examples examples) =>
            tensor(
                (
                    fit is null ? new TracIn().SelfInfluence(task, examples) : new InfluenceFunction(fit).SelfInfluence(task, examples)
                ).Values.ToArray()
            );

        static Examples Data(int n) => Examples.FromTensors(("x", randn([n, 300])), ("y", randint(0, 4, [n]))) with { BatchSize = 50 };
    }

    /// <summary>Ghost products over pairs of positions, patches, tables and written-out queries. The bound of several positions is a sum
    /// over their pairs; of these models the error stays within that of one position.</summary>
    [Theory]
    [InlineData("decoder", false)]
    [InlineData("decoder", true)]
    [InlineData("convolutions", false)]
    [InlineData("convolutions", true)]
    public void LayersWithPositions(string kind, bool curvature)
    {
        random.manual_seed(6);
        var (task, train, queries) = kind == "decoder" ? Decoder() : Convolutions();
        using var fit = curvature ? Ekfac.Fit(task, train) : null;
        using var own = Estimator(null).Score(task, train, queries);
        using var rounded = Estimator(ScalarType.BFloat16).Score(task, train, queries);
        var error = (rounded.Values - own.Values).abs() / (Self(queries).unsqueeze(1) * Self(train).unsqueeze(0)).sqrt();
        Assert.InRange(error.max().item<double>(), 1e-7, ProductArithmetic.Bound);

        IPairEstimator Estimator(ScalarType? type) =>
            fit is null ? new TracIn { ProductType = type } : new InfluenceFunction(fit) { ProductType = type, Tolerance = 0 };

        Tensor Self(Examples examples) =>
            tensor(
                (
                    fit is null ? new TracIn().SelfInfluence(task, examples) : new InfluenceFunction(fit).SelfInfluence(task, examples)
                ).Values.ToArray()
            );

        static (InfluenceTask, Examples, Examples) Decoder()
        {
            var model = new TinyDecoder();
            model.to(ScalarType.Float32);
            return (model.Task(), TinyDecoder.Sequences(30), TinyDecoder.Sequences(12));
        }

        static (InfluenceTask, Examples, Examples) Convolutions()
        {
            var made = TracedModel.Make("convolutions");
            made.Model.to(ScalarType.Float32);
            return (made.Task(), Data(30), Data(12));

            Examples Data(int n)
            {
                var inputs = made.Inputs(n);
                return Examples.FromTensors(inputs[0].to_type(ScalarType.Float32), inputs[1]);
            }
        }
    }

    [Fact]
    public void WhatIsExactStaysExact()
    {
        random.manual_seed(7);
        var head = nn.Linear(20, 3);
        var task = new InfluenceTask(head) { TrainingLoss = b => Losses.CrossEntropy(head.call(b["x"]), b["y"]) };
        var (train, queries) = (Data(40), Data(9));
        using var fit = Ekfac.Fit(task, train);
        var own = new InfluenceFunction(fit) { Tolerance = 0 };
        var rounded = own with { ProductType = ScalarType.BFloat16 };

        Assert.Equal(own.SelfInfluence(task, train).Values, rounded.SelfInfluence(task, train).Values);
        var mean = InfluenceFunction.QueryAggregation.Mean;
        using var one = (own with { Aggregation = mean }).Score(task, train, queries);
        using var same = (rounded with { Aggregation = mean }).Score(task, train, queries);
        Assert.True(one.Values.equal(same.Values).all().item<bool>());
        Assert.DoesNotContain("bfloat16", same.Metadata.Notes, StringComparison.Ordinal);
        var (exact, found) = (own.Strongest(5, task, train, queries), rounded.Strongest(5, task, train, queries));
        Assert.Equal(exact.Metadata.Notes, found.Metadata.Notes);
        for (var q = 0; q < 9; q++)
        {
            Assert.Equal(exact.Proponents(q).Ids, found.Proponents(q).Ids);
        }

        static Examples Data(int n) => Examples.FromTensors(("x", randn([n, 20])), ("y", randint(0, 3, [n])));
    }

    [Fact]
    public void OtherTypesAreRefused()
    {
        Says("65,504", () => _ = new TracIn { ProductType = ScalarType.Float16 });
        Says("found Int8", () => _ = new TracIn { ProductType = ScalarType.Int8 });
        using var data = new Classifier();
        using var fit = Ekfac.Fit(data.Task(), data.Train);
        Says(
            "for gradients in float32; these are in Float64",
            () =>
                new TracIn { ProductType = ScalarType.BFloat16 }
                    .Score(data.Task(), data.Train, data.Queries)
                    .Dispose()
        );
        Says(
            "model.to(ScalarType.Float32)",
            () =>
                new InfluenceFunction(fit) { ProductType = ScalarType.BFloat16 }
                    .Score(data.Task(), data.Train, data.Queries)
                    .Dispose()
        );

        static void Says(string part, Action act) =>
            Assert.Contains(part, Assert.Throws<InfluenceException>(act).Message, StringComparison.Ordinal);
    }
}
