using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>The same function written in two ways has the same curvature: embeddings as products with one-hot inputs, groups as layers of
/// their own.</summary>
public class EquivalentModelsTests
{
    /// <summary>Float64; the two ways sum in different orders, and damp at 1/20 of the largest eigenvalue or less.</summary>
    private const double Rounding = 1e-9;

    [Theory]
    [InlineData("EK-FAC", false)]
    [InlineData("K-FAC", false)]
    [InlineData("diagonal Fisher", false)]
    [InlineData("EK-FAC", true)]
    [InlineData("K-FAC", true)]
    public void AnEmbeddingIsALinearLayerOverOneHotInputs(string method, bool masked)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(121);
        var (table, linear) = (nn.Embedding(6, 3, dtype: float64), nn.Linear(6, 3, hasBias: false, dtype: float64));
        using (no_grad())
        {
            linear.weight.copy_(table.weight!.t());
        }

        var (ids, mask) = (Tokens(10), arange(4).lt(randint(1, 5, [10, 1])).to_type(ScalarType.Float64));
        var one = Scores(table, Examples.FromTensors(("x", ids), ("m", mask)));
        var other = Scores(linear, Examples.FromTensors(("x", nn.functional.one_hot(ids, 6).to_type(ScalarType.Float64)), ("m", mask)));

        Assert.True(SingleExampleLoop.RelativeError(one, other) < Rounding);

        Tensor Scores(nn.Module<Tensor, Tensor> model, Examples examples)
        {
            model.eval();
            var task = new InfluenceTask(model)
            {
                TrainingLoss = b => (model.call(b["x"]).cumsum(1).sin() * (masked ? b["m"].unsqueeze(2) : 1)).Squared().sum(1, 2),
                PositionMask = masked ? b => b["m"] : null,
            };
            return Both(method, task, examples);
        }

        // Every token has a frequency of its own: with equal ones the basis of the linear layer's inputs would be free.
        static Tensor Tokens(long n) =>
            tensor(Enumerable.Range(0, (int)n * 4).Select(i => (long)(Math.Sqrt(i * 37 % 40) * 0.94)).ToArray()).reshape(n, 4);
    }

    [Theory]
    [InlineData("EK-FAC", true)]
    [InlineData("K-FAC", true)]
    [InlineData("diagonal Fisher", true)]
    [InlineData("EK-FAC", false)]
    [InlineData("K-FAC", false)]
    public void AConvolutionWithGroupsIsOneLayerForEachGroup(string method, bool bias)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(122);
        var grouped = nn.Conv2d(4, 6, 3, padding: 1, groups: 2, bias: bias, dtype: float64);
        var (first, second) = (
            nn.Conv2d(2, 3, 3, padding: 1, bias: bias, dtype: float64),
            nn.Conv2d(2, 3, 3, padding: 1, bias: bias, dtype: float64)
        );
        using (no_grad())
        {
            var start = 0;
            foreach (var part in new[] { first, second })
            {
                part.weight.copy_(grouped.weight.narrow(0, start, 3));
                part.bias?.copy_(grouped.bias!.narrow(0, start, 3));
                start += 3;
            }
        }

        var whole = new Composite(grouped.call, ("grouped", grouped));
        var parts = new Composite(
            x => cat([first.call(x.narrow(1, 0, 2)), second.call(x.narrow(1, 2, 2))], 1),
            ("first", first),
            ("second", second)
        );
        var examples = Examples.FromTensors(("x", randn([9, 4, 5, 5], dtype: float64)));

        Assert.True(SingleExampleLoop.RelativeError(Scores(whole), Scores(parts)) < Rounding);

        Tensor Scores(Composite model)
        {
            model.eval();
            return Both(
                method,
                new InfluenceTask(model) { TrainingLoss = b => (model.call(b["x"]) * 0.7).sin().flatten(1).sum(1) },
                examples
            );
        }
    }

    /// <summary>Recurrent uses of one layer are so many positions: the step is written as a loop, or the inputs are laid side by
    /// side.</summary>
    [Theory]
    [InlineData("EK-FAC")]
    [InlineData("K-FAC")]
    public void CallsOfOneLayerArePositions(string method)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(123);
        var layer = nn.Linear(3, 4, dtype: float64);
        layer.eval();
        var examples = Examples.FromTensors(("x", randn([9, 5, 3], dtype: float64)));
        var atOnce = new InfluenceTask(layer) { TrainingLoss = b => layer.call(b["x"]).cumsum(1).sin().sum(1, 2) };
        var inTurn = new InfluenceTask(layer)
        {
            TrainingLoss = b =>
                stack([.. Enumerable.Range(0, 5).Select(t => layer.call(b["x"].select(1, t)))], 1).cumsum(1).sin().sum(1, 2),
        };

        Assert.True(SingleExampleLoop.RelativeError(Both(method, inTurn, examples), Both(method, atOnce, examples)) < Rounding);
    }

    /// <summary>Scores and self-influence below each other, with a damping that does not depend on how blocks are cut.</summary>
    private static Tensor Both(string method, InfluenceTask task, Examples examples)
    {
        using var fit = LayerwiseMethods.Fit(method, task, examples, LayerwiseMethods.Empirical with { Damping = Damping.Absolute(0.05) });
        var influence = new InfluenceFunction(fit) { Tolerance = 0 };
        using var scores = influence.Score(task, examples, examples);
        return cat([scores.Values, tensor(influence.SelfInfluence(task, examples).Values.ToArray()).unsqueeze(0)], 0);
    }
}
