using Influence.Recipes;
using Influence.Selection;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>DON and NOD against steps that are taken, on copies of the weights.</summary>
public class DonodTests
{
    /// <summary>W = diag(3, 4), G = diag(1, -2), rate 0.1: ||W|| = 5, ||W'|| = sqrt(2.9^2 + 4.2^2).</summary>
    [Fact]
    public void TheWorkedExample()
    {
        using var scope = NewDisposeScope();
        using var layer = Diagonal();
        var (don, nod) = new Donod { LearningRate = 0.1 }.Score(Linear(layer), Gradients((1, -2)));

        Assert.Equal(-0.103920, don[0], 6);
        Assert.Equal(0.223607, nod[0], 6);

        // Linearised it is rate <W, G> / ||W|| = -0.1: for a rate of 1e-11 equal but for 1e-11, where subtracting norms leaves five digits.
        var (small, _) = new Donod { LearningRate = 1e-11 }.Score(Linear(layer), Gradients((1, -2)));
        Assert.Equal(-1, small[0] / 1e-11, 1e-10);
    }

    /// <summary>TOPSIS takes the two as they come; three examples whose metrics are rows (0.1, 0.2), (-0.1, 0.1), (0, 0.05).</summary>
    [Fact]
    public void TheyFeedTopsis()
    {
        using var scope = NewDisposeScope();
        using var layer = Diagonal();

        // With rate 1 the step is G itself: ||G|| is NOD, and ||W - G|| is 5 less DON.
        var examples = Gradients(Step(0.1, 0.2), Step(-0.1, 0.1), Step(0, 0.05));
        var (don, nod) = new Donod { LearningRate = 1 }.Score(Linear(layer), examples);
        using var pool = new SelectionPool([don, nod]);
        var selected = new Topsis { Directions = [Topsis.Order.Higher, Topsis.Order.Lower] }.Select(pool, SelectionBudget.Count(3));

        double[] expectedDon = [0.1, -0.1, 0],
            expectedNod = [0.2, 0.1, 0.05],
            closeness = [0.683569, 0.576768, 0.233715];
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(expectedDon[i], don[i], 12);
            Assert.Equal(expectedNod[i], nod[i], 12);
            Assert.Equal(closeness[i], selected.Utilities[i], 6);
        }

        Assert.Equal([0, 2, 1], selected.Ids);

        // The intersection of two circles: |g| = nod and |w - g| = 5 - don, with w = (3, 4).
        static (double, double) Step(double don, double nod)
        {
            var along = ((nod * nod) + 25 - ((5 - don) * (5 - don))) / 10;
            var across = Math.Sqrt((nod * nod) - (along * along));
            return ((along * 0.6) - (across * 0.8), (along * 0.8) + (across * 0.6));
        }
    }

    [Theory]
    [InlineData("linear")]
    [InlineData("linear over positions")]
    [InlineData("mlp")]
    [InlineData("conv2d")]
    [InlineData("conv2d grouped")]
    [InlineData("conv1d")]
    [InlineData("embedding")]
    [InlineData("layer norm")]
    [InlineData("tied linear twice")]
    [InlineData("tied embedding and head")]
    [InlineData("layer called twice")]
    [InlineData("sequence first")]
    [InlineData("weight also used outside")]
    [InlineData("frozen bias")]
    [InlineData("attention causal")]
    [InlineData("native attention")]
    public void EqualsStepsThatAreTaken(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var inputs = made.Inputs(5);
        var donod = new Donod { LearningRate = 0.3, Layers = LayerSelection.All };

        var (don, nod) = donod.Score(made.Task(), Examples.FromTensors(inputs));
        var (byOne, _) = (donod with { MemoryBudget = 1 }).Score(made.Task(), Examples.FromTensors(inputs) with { BatchSize = 2 });

        var (expectedDon, expectedNod) = Steps(made, inputs, 0.3);
        Assert.True(SingleExampleLoop.RelativeError(tensor(don.Values.ToArray()), expectedDon) < 1e-10); // rounding of float64
        Assert.True(SingleExampleLoop.RelativeError(tensor(nod.Values.ToArray()), expectedNod) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(tensor(byOne.Values.ToArray()), expectedDon) < 1e-10);
    }

    /// <summary>A float32 model against steps in float64.</summary>
    [Fact]
    public void InFloat32()
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make("linear over positions");
        var inputs = made.Inputs(5);
        var (expectedDon, expectedNod) = Steps(made, inputs, 1e-4);
        made.Model.to(float32);

        var (don, nod) = new Donod { LearningRate = 1e-4 }.Score(
            made.Task(),
            Examples.FromTensors([.. inputs.Select(t => t.to_type(float32))])
        );

        // Norms are of order 1: subtracted in float32, a DON of order 1e-4 would keep three digits.
        Assert.True(SingleExampleLoop.RelativeError(tensor(don.Values.ToArray()), expectedDon) < 1e-5);
        Assert.True(SingleExampleLoop.RelativeError(tensor(nod.Values.ToArray()), expectedNod) < 1e-5);
    }

    [Fact]
    public void OnlyTheOutputLayerUnlessSaid()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var (_, nod) = new Donod { LearningRate = 0.5 }.Score(c.Task(), c.Train);
        var (_, named) = new Donod { LearningRate = 0.5, Layers = LayerSelection.Where(n => n == "head.weight") }.Score(c.Task(), c.Train);

        var expected = c.TrainGradients(n => n == "head.weight").Squared().sum(1).sqrt() * 0.5;
        Assert.True(SingleExampleLoop.RelativeError(tensor(nod.Values.ToArray()), expected) < 1e-12); // rounding of float64
        Assert.Equal(nod.Values, named.Values);
        Assert.Contains("last layer", nod.Metadata.Layers, StringComparison.Ordinal);
    }

    /// <summary>The step from zero weights, and the one onto zero weights.</summary>
    [Fact]
    public void WeightsOfZero()
    {
        using var scope = NewDisposeScope();
        using var layer = Diagonal();
        var (onto, _) = new Donod { LearningRate = 1 }.Score(Linear(layer), Gradients((3, 4)));
        using (no_grad())
        {
            layer.weight.zero_();
        }

        var (from, nod) = new Donod { LearningRate = 1 }.Score(Linear(layer), Gradients((3, 4), (0, 0)));

        Assert.Equal(5, onto[0], 12);
        Assert.Equal([-5, 0], from.Values.Select(v => Math.Round(v, 12)));
        Assert.Equal([5, 0], nod.Values.Select(v => Math.Round(v, 12)));
    }

    [Fact]
    public void LayersWithoutAWeight()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var thrown = Assert.Throws<InfluenceException>(() =>
            new Donod { LearningRate = 0.1, Layers = LayerSelection.Where(n => n == "head.bias") }.Score(c.Task(), c.Train)
        );

        Assert.Contains("head.bias", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("LayerSelection.Where", thrown.Message, StringComparison.Ordinal);
        foreach (var rate in new[] { 0, -1, double.NaN, double.PositiveInfinity })
        {
            Assert.Contains(
                "above 0",
                Assert.Throws<InfluenceException>(() => new Donod { LearningRate = rate }).Message,
                StringComparison.Ordinal
            );
        }
    }

    private static (Tensor Don, Tensor Nod) Steps(ModelCase made, Tensor[] inputs, double rate)
    {
        var (don, nod) = (zeros(inputs[0].shape[0], float64), zeros(inputs[0].shape[0], float64));
        var seen = new HashSet<nint>();
        foreach (var (name, parameter) in made.Model.named_parameters().Where(p => p.parameter.requires_grad && p.parameter.dim() >= 2))
        {
            if (!seen.Add(parameter.storage<double>().data_ptr()))
            {
                continue;
            }

            var g = SingleExampleLoop.Gradients(made.Model, made.Loss, inputs, n => n == name);

            // A packed projection is three weights.
            var weights = name.EndsWith("in_proj_weight", StringComparison.Ordinal) ? 3 : 1;
            var before = parameter.detach().reshape(1, weights, -1);
            var after = before - (g.reshape(g.shape[0], weights, -1) * rate);
            don += (before.Squared().sum(2).sqrt() - after.Squared().sum(2).sqrt()).sum(1);
            nod += (before - after).Squared().sum(2).sqrt().sum(1);
        }

        return (don, nod);
    }

    private static TorchSharp.Modules.Linear Diagonal()
    {
        var layer = nn.Linear(2, 2, hasBias: false, dtype: float64);
        using var noGrad = no_grad();
        using var weight = tensor(
            new double[,]
            {
                { 3, 0 },
                { 0, 4 },
            }
        );
        layer.weight.copy_(weight);
        return layer;
    }

    /// <summary>A loss whose gradient is what the example says: two positions, unit inputs.</summary>
    private static InfluenceTask Linear(TorchSharp.Modules.Linear layer) =>
        new(layer) { TrainingLoss = b => (layer.call(b["x"]) * b["c"]).sum([1, 2]) };

    private static Examples Gradients(params (double First, double Second)[] diagonals)
    {
        var x = eye(2, dtype: float64).unsqueeze(0).expand(diagonals.Length, 2, 2).clone();
        return Examples.FromTensors(("x", x), ("c", stack([.. diagonals.Select(d => diag(tensor(new[] { d.First, d.Second })))], 0)));
    }
}
