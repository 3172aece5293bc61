using Influence.Recipes;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>A small model that learns influence from features.</summary>
public class DataInfluenceModelTests
{
    private const int Count = 120;

    [Fact]
    public void ALinearTargetIsFound()
    {
        using var scope = NewDisposeScope();
        var (examples, x) = Data();
        var target = (x.mv(tensor(new[] { 2.0, -1, 0.5, 0 })) * 1e-4) + 7; // [N]
        var measured = ExampleScores.Of([.. examples.Ids.Take(80)], target.data<double>().ToArray()[..80]);

        using var model = DataInfluenceModel.Fit(measured, examples, Features(), seed: 2);

        Assert.Equal(16, model.HeldOutIds.Count);
        Assert.Equal(1, model.HeldOutCorrelation, 12);
        var predicted = model.Predict(examples with { BatchSize = 7 });
        Assert.Equal(examples.Ids, predicted.Ids);

        // The smallest penalty, 1e-4 of the mean eigenvalue, shrinks by about that share of the target's spread.
        var (truth, spread) = (target.data<double>().ToArray(), 3e-4);
        Assert.All(predicted.Values.Zip(truth), pair => Assert.Equal(pair.Second, pair.First, 3e-4 * spread));
        Assert.Contains("rank correlation", predicted.Metadata.Notes, StringComparison.Ordinal);
    }

    /// <summary>By hand at one penalty: (X'X + p I)^-1 X'y on standardised columns, with more rows than columns and with fewer.</summary>
    [Theory]
    [InlineData(30, 4)]
    [InlineData(5, 9)]
    public void RidgeIsItsFormula(int rows, int columns)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(5);
        var (x, y) = (randn([rows, columns], ScalarType.Float64), randn([rows], ScalarType.Float64));
        using var fit = new RidgeRegression { Penalties = [0.3] }.Fit(x, y, 0, CancellationToken.None);
        var gram = x.t().mm(x);
        var penalty = 0.3 * gram.diag().sum().item<double>() / columns;
        var weights = linalg.solve(gram + (penalty * eye(columns, dtype: ScalarType.Float64)), x.t().mv(y));
        Assert.True(SingleExampleLoop.RelativeError(fit.Predict(x), x.mv(weights)) < 1e-10);
    }

    [Fact]
    public void ThePenaltyIsLargeWhereThereIsOnlyNoise()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(6);
        var (x, noise) = (randn([60, 40], ScalarType.Float64), randn([60], ScalarType.Float64));
        using var toNoise = new RidgeRegression().Fit(x, noise, 1, CancellationToken.None);
        using var toSignal = new RidgeRegression().Fit(x, x.select(1, 3), 1, CancellationToken.None);
        Assert.True(toNoise.Predict(x).Squared().mean().item<double>() < 0.3);
        Assert.True((toSignal.Predict(x) - x.select(1, 3)).Squared().mean().item<double>() < 0.05);
    }

    /// <summary>A target that no linear function has, |x|: the network finds its order, ridge cannot.</summary>
    [Fact]
    public void TheNetworkLearnsWhatIsNotLinear()
    {
        using var scope = NewDisposeScope();
        var (examples, x) = Data();
        var target = ExampleScores.Of(examples.Ids, x.select(1, 0).abs().data<double>().ToArray());
        using var network = DataInfluenceModel.Fit(
            target,
            examples,
            Features(),
            new MlpRegression
            {
                Epochs = 60,
                Hidden = 24,
                LearningRate = 0.02,
            }
        );
        using var ridge = DataInfluenceModel.Fit(target, examples, Features());
        Assert.True(network.HeldOutCorrelation > 0.8, $"network {network.HeldOutCorrelation}");
        Assert.True(Math.Abs(ridge.HeldOutCorrelation) < 0.5, $"ridge {ridge.HeldOutCorrelation}");

        using var again = DataInfluenceModel.Fit(
            target,
            examples,
            Features(),
            new MlpRegression
            {
                Epochs = 60,
                Hidden = 24,
                LearningRate = 0.02,
            }
        );
        Assert.Equal(network.Predict(examples).Values, again.Predict(examples).Values);
    }

    [Fact]
    public void TorchsOwnGeneratorIsNotTouched()
    {
        using var scope = NewDisposeScope();
        var (examples, x) = Data();
        var target = ExampleScores.Of(examples.Ids, x.select(1, 0).data<double>().ToArray());
        torch.random.manual_seed(9);
        var expected = rand(1).item<float>();
        torch.random.manual_seed(9);
        using var model = DataInfluenceModel.Fit(target, examples, Features(), new MlpRegression { Epochs = 2 });
        Assert.Equal(expected, rand(1).item<float>());
    }

    /// <summary>Units and offsets of features and of the target change nothing but the predictions' unit; a constant column nothing at
    /// all.</summary>
    [Fact]
    public void UnitsDoNotMatter()
    {
        using var scope = NewDisposeScope();
        var (examples, x) = Data();
        var other = Examples.FromTensors(
            ("f", cat([(x * tensor(new[] { 1e3, 1e-3, 7, 1 })) + 5, full([Count, 1], 3.3, ScalarType.Float64)], 1))
        );
        double[] values = [.. x.select(1, 0).exp().data<double>().ToArray()];
        using var plain = DataInfluenceModel.Fit(
            ExampleScores.Of(examples.Ids, values),
            examples,
            Features(),
            new RidgeRegression { Penalties = [0.1] }
        );
        using var scaled = DataInfluenceModel.Fit(
            ExampleScores.Of(examples.Ids, [.. values.Select(v => (v * 1e-6) - 4)]),
            other,
            Features(),
            new RidgeRegression { Penalties = [0.125] }
        );

        // Five columns, one of them zero: the mean eigenvalue is 4/5 of the other's, so its penalty is 5/4 of it.
        var (a, b) = (plain.Predict(examples), scaled.Predict(other));
        Assert.All(a.Values.Zip(b.Values), pair => Assert.Equal((pair.First * 1e-6) - 4, pair.Second, 1e-12));
    }

    /// <summary>A column that is constant in the fit is nothing, whatever it is elsewhere: a network's random weights never see
    /// it.</summary>
    [Fact]
    public void AConstantColumnDoesNotReachTheNetwork()
    {
        using var scope = NewDisposeScope();
        var (examples, x) = Data();
        var target = ExampleScores.Of(examples.Ids, x.select(1, 0).data<double>().ToArray());
        Examples With(double value) => Examples.FromTensors(("f", cat([x, full([Count, 1], value, ScalarType.Float64)], 1)));
        foreach (
            var regression in new IInfluenceRegression[]
            {
                new RidgeRegression(),
                new MlpRegression { Epochs = 3 },
            }
        )
        {
            using var model = DataInfluenceModel.Fit(target, With(3.3), Features(), regression);
            Assert.Equal(model.Predict(With(3.3)).Values, model.Predict(With(-40)).Values);
        }
    }

    [Fact]
    public void FeaturesThatAreAllConstantAreRefusedAndRowsOfZerosAreLearnedNothingFrom()
    {
        using var scope = NewDisposeScope();
        var (examples, x) = Data();
        var target = ExampleScores.Of(examples.Ids, x.select(1, 0).data<double>().ToArray());
        var same = Examples.FromTensors(("f", full([Count, 2], 3.3, ScalarType.Float64)));
        Assert.Contains(
            "All 2 features are the same",
            Assert.Throws<InfluenceException>(() => DataInfluenceModel.Fit(target, same, Features())).Message,
            StringComparison.Ordinal
        );

        using var fit = new RidgeRegression().Fit(
            zeros([20, 3], ScalarType.Float64),
            randn([20], ScalarType.Float64),
            0,
            CancellationToken.None
        );
        Assert.Equal([0, 0], fit.Predict(ones([2, 3], ScalarType.Float64)).data<double>().ToArray());
    }

    [Fact]
    public void BadInputIsNamed()
    {
        using var scope = NewDisposeScope();
        var (examples, x) = Data();
        var values = x.select(1, 0).data<double>().ToArray();
        var good = ExampleScores.Of(examples.Ids, values);
        Assert.Contains("At least eight", Fails(ExampleScores.Of([0, 1], [1, 2])), StringComparison.Ordinal);
        Assert.Contains(
            "not there: ids 999",
            Fails(ExampleScores.Of([.. examples.Ids.Take(20), 999], values[..21])),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "ids 1 is not finite",
            Fails(ExampleScores.Of([.. examples.Ids.Take(20)], [0, double.NaN, .. values[2..20]])),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "nothing to learn",
            Fails(ExampleScores.Of([.. examples.Ids.Take(20)], [.. Enumerable.Repeat(0.3, 20)])),
            StringComparison.Ordinal
        );
        Assert.Contains("[B, d]", Fails(good, InfluenceFeatures.Of(b => b["f"].select(1, 0))), StringComparison.Ordinal);
        Assert.Contains("not", Fails(good, InfluenceFeatures.Of(b => b["f"] / 0.0)), StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => DataInfluenceModel.Fit(good, examples, Features(), heldOut: 1));
        Assert.Throws<InfluenceException>(() => new RidgeRegression { Penalties = [] });
        Assert.Throws<InfluenceException>(() => new RidgeRegression { Validation = 0 });
        Assert.Throws<InfluenceException>(() => new MlpRegression { Hidden = 0 });
        Assert.Throws<InfluenceException>(() => new MlpRegression { LearningRate = double.NaN });
        using var model = DataInfluenceModel.Fit(good, examples, Features());
        Assert.Contains(
            "4 features",
            Assert.Throws<InfluenceException>(() => model.Predict(Examples.FromTensors(("f", x.narrow(1, 0, 2))))).Message,
            StringComparison.Ordinal
        );

        string Fails(ExampleScores scores, InfluenceFeatures? features = null) =>
            Assert.Throws<InfluenceException>(() => DataInfluenceModel.Fit(scores, examples, features ?? Features())).Message;
    }

    [Fact]
    public void NothingStaysAlive()
    {
        using var scope = NewDisposeScope();
        var (examples, x) = Data();
        var good = ExampleScores.Of(examples.Ids, x.select(1, 0).data<double>().ToArray());
        foreach (
            var regression in new IInfluenceRegression[]
            {
                new RidgeRegression(),
                new MlpRegression { Epochs = 2 },
            }
        )
        {
            Run(regression);
            var before = LiveTensors.OnThisThread;
            Run(regression);
            Assert.Equal(before, LiveTensors.OnThisThread);
        }

        void Run(IInfluenceRegression regression)
        {
            using var model = DataInfluenceModel.Fit(good, examples, Features(), regression);
            model.Predict(examples);
        }
    }

    private static InfluenceFeatures Features() => InfluenceFeatures.Of(b => b["f"]);

    private static (Examples Examples, Tensor X) Data()
    {
        torch.random.manual_seed(4);
        var x = randn([Count, 4], ScalarType.Float64);
        return (Examples.FromTensors(("f", x)), x);
    }
}
