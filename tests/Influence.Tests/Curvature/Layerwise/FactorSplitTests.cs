using Influence.Curvature;
using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Covariances in diagonal blocks: of wide layers, and of fused projections.</summary>
public class FactorSplitTests
{
    [Theory]
    [InlineData("mlp", 3, true)]
    [InlineData("mlp", 3, false)]
    [InlineData("convolutions", 4, true)]
    [InlineData("convolutions", 4, false)]
    public void AMaximumFactorSizeLeavesCrossBlocksOut(string name, int maximum, bool measured)
    {
        using var scope = NewDisposeScope();
        var made = TracedModel.Make(name);
        var train = made.Inputs(14);
        var examples = Examples.FromTensors(train);
        var options = LayerwiseMethods.Empirical with { MaximumFactorSize = maximum };
        using LayerwisePreconditioner fit = measured ? Ekfac.Fit(made.Task(), examples, options) : Kfac.Fit(made.Task(), examples, options);
        using var scores = new InfluenceFunction(fit) { Tolerance = 0 }.Score(made.Task(), examples, examples);

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, Oracle(split: true)) < 1e-8);
        Assert.True(SingleExampleLoop.RelativeError(scores.Values, Oracle(split: false)) > 1e-3);

        Tensor Oracle(bool split) =>
            made.Oracle(train, split ? layer => Blocks(name, layer) : null)
                .Scores(measured, mean => 0.1 * mean, made.Model, made.Loss, TracedModel.One(train));
    }

    /// <summary>The fused projection's scores are those of three layers with the same weights, once its parts are told apart.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AFusedProjectionIsItsParts(bool measured)
    {
        using var scope = NewDisposeScope();
        var (fused, separate, inputs) = Projections();
        var examples = Examples.FromTensors(inputs);
        var options = LayerwiseMethods.Empirical with { Damping = Damping.Absolute(0.05) };
        var splits = new Dictionary<string, IReadOnlyList<long>> { ["qkv.weight"] = [4, 2, 2] };

        var expected = Scores(separate, options);

        Assert.True(SingleExampleLoop.RelativeError(Scores(fused, options with { OutputSplits = splits }), expected) < 1e-10);
        Assert.True(SingleExampleLoop.RelativeError(Scores(fused, options), expected) > 1e-3);

        Tensor Scores(Composite model, Ekfac.Options with)
        {
            var task = Task(model);
            using LayerwisePreconditioner fit = measured ? Ekfac.Fit(task, examples, with) : Kfac.Fit(task, examples, with);
            return new InfluenceFunction(fit) { Tolerance = 0 }
                .Score(task, examples, examples)
                .Values;
        }
    }

    [Theory]
    [InlineData("qkv.weight", new long[] { 4, 2, 1 }, "sums to 7, but the layer has 8 outputs")]
    [InlineData("qkv.weight", new long[] { 4, 5, -1 }, "[4, 5, -1]")]
    [InlineData("attention.qkv.weight", new long[] { 4, 2, 2 }, "attention.qkv.weight")]
    [InlineData("qkv.bias", new long[] { 4, 2, 2 }, "qkv.weight")]
    public void WrongSplitsAreRefused(string parameter, long[] parts, string told)
    {
        using var scope = NewDisposeScope();
        var (fused, _, inputs) = Projections();
        var options = LayerwiseMethods.Empirical with
        {
            OutputSplits = new Dictionary<string, IReadOnlyList<long>> { [parameter] = parts },
        };

        var thrown = Assert.Throws<InfluenceException>(() => Ekfac.Fit(Task(fused), Examples.FromTensors(inputs), options));

        Assert.Contains(told, thrown.Message, StringComparison.Ordinal);
        Assert.Contains("OutputSplits", thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AMaximumFactorSizeOfZeroIsRefused() => Assert.Throws<InfluenceException>(() => new Ekfac.Options { MaximumFactorSize = 0 });

    /// <summary>Sizes worked out by hand: as even as whole numbers allow, none above the maximum.</summary>
    private static (long[]? A, long[]? S) Blocks(string model, string layer) =>
        (model, layer) switch
        {
            ("mlp", "first") => ([3, 3], [3, 3]), // 6 and 6 by 3
            ("mlp", _) => ([2, 2, 3], [3]), // 7 and 3 by 3
            (_, "first") => ([3, 3, 4], [3]), // 10 and 3 by 4
            (_, "second") => ([3, 4, 4, 4, 4, 4, 4], [2]), // 27 and 2 by 4
            _ => ([3, 4, 4, 4, 4], [3]), // 19 and 3 by 4
        };

    private static InfluenceTask Task(Composite model) => new(model) { TrainingLoss = b => ModelCase.SquaredNorm(model.call(b[0]), b[1]) };

    private static (Composite Fused, Composite Separate, Tensor[] Inputs) Projections()
    {
        random.manual_seed(51);
        var qkv = nn.Linear(4, 8, dtype: float64);
        var (q, k, v) = (nn.Linear(4, 4, dtype: float64), nn.Linear(4, 2, dtype: float64), nn.Linear(4, 2, dtype: float64));
        using (no_grad())
        {
            long start = 0;
            foreach (var part in new[] { q, k, v })
            {
                var rows = part.bias!.shape[0];
                part.weight.copy_(qkv.weight.narrow(0, start, rows));
                part.bias.copy_(qkv.bias!.narrow(0, start, rows));
                start += rows;
            }
        }

        var fused = new Composite(x => Mix(qkv.call(x)), ("qkv", qkv));
        var separate = new Composite(x => Mix(cat([q.call(x), k.call(x), v.call(x)], -1)), ("q", q), ("k", k), ("v", v));
        fused.eval();
        separate.eval();
        return (fused, separate, [randn([12, 3, 4], dtype: float64), randn([12, 3, 2], dtype: float64)]);

        // Two query heads that share one key and value head.
        static Tensor Mix(Tensor projected)
        {
            var (queries, keys, values) = (projected.narrow(-1, 0, 4), projected.narrow(-1, 4, 2), projected.narrow(-1, 6, 2));
            var weights = (queries.narrow(-1, 0, 2) + queries.narrow(-1, 2, 2)).matmul(keys.transpose(1, 2)).softmax(-1);
            return weights.matmul(values);
        }
    }
}
