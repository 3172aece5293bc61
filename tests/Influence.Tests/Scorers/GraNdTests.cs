using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Scorers;

/// <summary>Mean gradient norms against the loop over single examples and the closed form of softmax regression.</summary>
public sealed class GraNdTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void SoftmaxRegression(bool bias)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        using var layer = nn.Linear(4, 3, hasBias: bias, dtype: float64);
        var (x, y) = (randn(7, 4, dtype: float64), randint(0, 3, [7]));
        var task = new InfluenceTask(layer) { TrainingLoss = b => Losses.CrossEntropy(layer.call(b["x"]), b["y"]) };

        var scores = new GraNd().Score(task, Examples.FromTensors(("x", x), ("y", y)));

        using var noGrad = no_grad();
        var residual = layer.call(x).softmax(1) - nn.functional.one_hot(y, 3);
        var expected = residual.Squared().sum(1).sqrt() * (x.Squared().sum(1) + (bias ? 1 : 0)).sqrt();
        Assert.True(SingleExampleLoop.RelativeError(tensor(scores.Values.ToArray()), expected) < 1e-12); // rounding of float64
    }

    [Theory]
    [MemberData(nameof(Cases.All), MemberType = typeof(Cases))]
    public void EveryKindOfLayer(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var inputs = made.Inputs(5);
        var expected = SingleExampleLoop.Gradients(made.Model, made.Loss, inputs).Squared().sum(1).sqrt();

        var scores = new GraNd().Score(made.Task(), Examples.FromTensors(inputs));

        Assert.True(SingleExampleLoop.RelativeError(tensor(scores.Values.ToArray()), expected) < 1e-10); // rounding of float64
    }

    [Fact]
    public void TheMeanOverModelsOfAnySeedAndBatch()
    {
        using var scope = NewDisposeScope();
        using var c = new Classifier();
        var (checkpoints, norms) = (new List<Checkpoint>(), new List<Tensor>());
        for (var seed = 0; seed < 3; seed++)
        {
            using var noGrad = no_grad();
            random.manual_seed(seed);
            foreach (var (_, parameter) in c.Model.named_parameters())
            {
                parameter.normal_(0, 1);
            }

            // Rates, one of them zero, do not count.
            checkpoints.Add(Checkpoint.Save(_folder.Path($"{seed}"), c.Model, seed * 0.5));
            using var grad = enable_grad();
            norms.Add(c.TrainGradients().Squared().sum(1).sqrt());
        }

        var expected = (norms[0] + norms[1] + norms[2]) / 3;
        foreach (var size in new[] { 1, 4, 128 })
        {
            var scores = new GraNd { Checkpoints = checkpoints, MemoryBudget = size == 4 ? 1 : 1 << 20 }.Score(
                c.Task(),
                c.Train with
                {
                    BatchSize = size,
                }
            );
            Assert.Equal(c.Train.Ids, scores.Ids);
            Assert.True(SingleExampleLoop.RelativeError(tensor(scores.Values.ToArray()), expected) < 1e-12);
        }
    }

    /// <summary>Over positions the norm comes from two Gram matrices, whose product may sum to a little below zero.</summary>
    [Fact]
    public void AGradientOfZeroHasANormOfZero()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        using var layer = nn.Linear(40, 30, dtype: float32);
        var task = new InfluenceTask(layer) { TrainingLoss = b => (layer.call(b["x"]) * b["c"]).sum([1, 2]) };
        var (x, c) = (randn(4, 1, 40), randn(4, 1, 30));

        // Two positions alike, whose gradients cancel.
        var scores = new GraNd().Score(task, Examples.FromTensors(("x", cat([x, x], 1)), ("c", cat([c, -c], 1))));

        Assert.All(scores.Values, v => Assert.InRange(v, 0, 1e-2)); // float32 with squares of order 1e3: the root of their rounding
    }
}
