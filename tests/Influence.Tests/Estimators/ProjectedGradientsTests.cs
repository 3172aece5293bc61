using Influence.Estimators;
using Influence.Gradients;
using Influence.Recipes;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Estimators;

/// <summary>Gradients in few dimensions, with inner products kept on average.</summary>
public class ProjectedGradientsTests
{
    [Fact]
    public void WithRoomForAllTheyAreTheGradients()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var expected = c.TrainGradients();
        var state = ModelState.Of(c.Model, c.X);
        var rows = new ProjectedGradients { Dimension = 1000 }.Compute(c.Task(), c.Train with { BatchSize = 4 });
        Assert.Equal(expected.shape, rows.shape);
        Assert.True(SingleExampleLoop.RelativeError(rows.mm(rows.t()), expected.mm(expected.t())) < 1e-12);
        state.AssertUnchanged(c.Model, c.X);
    }

    /// <summary>The mean over seeds of the projected product is the product, and its spread is what the formula says at most.</summary>
    [Fact]
    public void InnerProductsAreKeptOnAverage()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 2);
        var exact = c.TrainGradients();
        var gram = exact.mm(exact.t()).data<double>().ToArray();
        const int Seeds = 300,
            Dimension = 16;
        double[] products =
        [
            .. Enumerable
                .Range(0, Seeds)
                .Select(seed =>
                {
                    using var step = NewDisposeScope();
                    var rows = new ProjectedGradients { Dimension = Dimension, Seed = seed }.Compute(c.Task(), c.Train);
                    Assert.Equal([2L, Dimension], rows.shape);
                    return rows[0].dot(rows[1]).item<double>();
                }),
        ];
        var variance = ((gram[0] * gram[3]) + (gram[1] * gram[1])) / Dimension;

        // Four standard errors of the mean; the variance of 300 draws is within a quarter or so of its own, here the bound is from above.
        Assert.Equal(gram[1], products.Average(), 4 * Math.Sqrt(variance / Seeds));
        Assert.True(products.Average(p => (p - gram[1]) * (p - gram[1])) < 1.3 * variance);
    }

    [Fact]
    public void AParametersColumnDoesNotDependOnTheOthers()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var projection = new ProjectedGradients { Dimension = 8, Seed = 3 };
        var whole = projection.Compute(c.Task(), c.Train);
        var parts = new[] { "hidden.", "head." }
            .Select(layer =>
                projection.Compute(
                    new InfluenceTask(c.Model)
                    {
                        TrainingLoss = c.Loss,
                        Layers = LayerSelection.Where(n => n.StartsWith(layer, StringComparison.Ordinal)),
                    },
                    c.Train
                )
            )
            .ToArray();

        // Sums in another order, in float64.
        Assert.True(SingleExampleLoop.RelativeError(parts[0] + parts[1], whole) < 1e-12);
    }

    /// <summary>An embedding's gradients are those of the written-out table, sign by sign and column by column.</summary>
    [Fact]
    public void TokensAreTheirTable()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(8);
        const long Vocabulary = 7,
            Width = 3;
        var (tokens, d) = (randint(0, Vocabulary, [4, 5]), randn([4, 5, Width], ScalarType.Float64));
        var (column, sign) = (
            randint(0, 6, [Vocabulary * Width]),
            (randint(0, 2, [Vocabulary * Width]).to_type(ScalarType.Float64) * 2) - 1
        );
        var expected = zeros([4, 6], ScalarType.Float64);
        expected.index_add_(1, column, new TokenGradients(tokens, d, Vocabulary).Dense()[0] * sign, 1);

        var rows = zeros([4, 6], ScalarType.Float64);
        ProjectedGradients.Add(rows, new TokenGradients(tokens, d, Vocabulary), [(column, sign)]);
        Assert.True(SingleExampleLoop.RelativeError(rows, expected) < 1e-12); // sums in another order
    }

    /// <summary>A vocabulary whose table would take 2^42 numbers an example: only what occurs is made.</summary>
    [Fact]
    public void AnEmbeddingsTableIsNeverWrittenOut()
    {
        using var scope = NewDisposeScope();
        const long Vocabulary = 1L << 40,
            Width = 4;
        var (tokens, d) = (
            tensor(
                new[,]
                {
                    { 5L, 1L << 39 },
                    { 5L, 5L },
                }
            ),
            ones([2, 2, Width], ScalarType.Float64)
        );

        // One number stands for all of them.
        var column = zeros([1], ScalarType.Int64).expand(Vocabulary * Width);
        var rows = zeros([2, 3], ScalarType.Float64);
        ProjectedGradients.Add(rows, new TokenGradients(tokens, d, Vocabulary), [(column, null)]);
        Assert.Equal([2 * Width, 0, 0, 2 * Width, 0, 0], rows.data<double>().ToArray());

        var (products, squares) = Donod.Products(
            new TokenGradients(tokens, d, Vocabulary),
            0,
            full([1], 0.5, ScalarType.Float64).expand(Vocabulary * Width)
        );
        Assert.Equal([Width, Width], products.data<double>().ToArray());
        Assert.Equal([2 * Width, 4 * Width], squares.data<double>().ToArray());
    }

    /// <summary>Written-out gradients of 51 parameters in float64, twice, and four inputs: 850 bytes an example.</summary>
    [Fact]
    public void BatchesAreSoSmallThatWhatIsWrittenOutFitsTheBudget()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier(train: 12);
        var reports = new Reports();
        var whole = new ProjectedGradients { Dimension = 8 }.Compute(c.Task(), c.Train);
        var parts = new ProjectedGradients { Dimension = 8, MemoryBudget = 2000 }.Compute(c.Task(), c.Train, reports);
        // at most three fit into 2,000 bytes, by the larger layer alone
        Assert.True(reports.All.Count >= 4, $"{reports.All.Count} batches of 12 examples");
        Assert.True(SingleExampleLoop.RelativeError(parts, whole) < 1e-12); // products of matrices of other sizes
    }

    [Theory]
    [InlineData("embedding")]
    [InlineData("tied embedding and head")]
    [InlineData("tied linear twice")]
    public void EveryKindOfBlock(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var inputs = made.Inputs(5);
        var expected = SingleExampleLoop.Gradients(made.Model, made.Loss, inputs); // [5, P]
        var rows = new ProjectedGradients { Dimension = 1 << 20 }.Compute(made.Task(), Examples.FromTensors(inputs));
        Assert.Equal(expected.shape, rows.shape);
        Assert.True(SingleExampleLoop.RelativeError(rows.mm(rows.t()), expected.mm(expected.t())) < 1e-10); // rounding of float64
    }

    [Fact]
    public void NothingStaysAliveAndTheModelIsAsBefore()
    {
        using var c = new Classifier();
        var projection = new ProjectedGradients { Dimension = 8 };
        projection.Compute(c.Task(), c.Train).Dispose();
        var state = ModelState.Of(c.Model, c.X);
        var before = LiveTensors.OnThisThread;
        projection.Compute(c.Task(), c.Train).Dispose();
        using var source = new CancellationTokenSource();
        Assert.Throws<OperationCanceledException>(() =>
            projection.Compute(c.Task(), c.Train with { BatchSize = 2 }, new Reports(_ => source.Cancel()), source.Token)
        );
        Assert.Equal(before, LiveTensors.OnThisThread);
        state.AssertUnchanged(c.Model, c.X);
        Assert.Throws<InfluenceException>(() => new ProjectedGradients { Dimension = 0 });
        Assert.Throws<InfluenceException>(() => new ProjectedGradients { MemoryBudget = 0 });
    }
}
