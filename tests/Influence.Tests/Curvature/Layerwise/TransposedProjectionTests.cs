using Influence.Curvature;
using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>GPT-2's packed projection, whose weight has its inputs in rows: split, and taken apart by heads, as three linear layers
/// are.</summary>
public class TransposedProjectionTests
{
    private const int Width = 6;

    // float64; what is left is the order of sums.
    private const double Rounding = 1e-9;

    /// <summary>The same attention twice: c_attn and c_proj, and q, k, v and o with the same numbers.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void SplitItIsThreeLayers(bool measured)
    {
        using var scope = NewDisposeScope();
        var (packed, separate, examples) = Models();
        var options = LayerwiseMethods.Empirical with { Damping = Damping.Absolute(0.05) };
        var splits = new Dictionary<string, IReadOnlyList<long>> { ["c_attn.weight"] = [Width, Width, Width] };
        using var packedFit = Fit(packed, options with { OutputSplits = splits });
        using var separateFit = Fit(separate, options);
        using var whole = Fit(packed, options);
        using var expected = Scores(separateFit, separate);
        using var scores = Scores(packedFit, packed);
        using var unsplit = Scores(whole, packed);

        Assert.True(SingleExampleLoop.RelativeError(scores.Values, expected.Values) < Rounding);
        Assert.True(SingleExampleLoop.RelativeError(unsplit.Values, expected.Values) > 1e-3);

        using var ofPacked = new InfluenceFunction(packedFit).ScoreHeads(
            Task(packed),
            examples,
            examples,
            new("c_attn.weight[q]", "c_attn.weight[k]", "c_attn.weight[v]", "c_proj.weight", Heads: 2)
        );
        using var ofSeparate = new InfluenceFunction(separateFit).ScoreHeads(
            Task(separate),
            examples,
            examples,
            new("q.weight", "k.weight", "v.weight", "o.weight", Heads: 2)
        );
        Assert.Equal(3, ofPacked.Count);
        for (var head = 0; head < 2; head++)
        {
            Assert.True(SingleExampleLoop.RelativeError(ofPacked[head].Scores.Values, ofSeparate[head].Scores.Values) < Rounding);
        }

        LayerwisePreconditioner Fit(Composite model, Ekfac.Options with) =>
            measured ? Ekfac.Fit(Task(model), examples, with) : Kfac.Fit(Task(model), examples, with);
        InfluenceScores Scores(Preconditioner fit, Composite model) =>
            new InfluenceFunction(fit) { Tolerance = 0 }.Score(Task(model), examples, examples);
    }

    /// <summary>With biases, which are blocks of their own, in GPT-2: heads and the output's bias sum to the four layers.</summary>
    [Fact]
    public void HeadsOfGpt2SumToTheirLayer()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(21);
        var (model, data) = (new TinyGpt2(), TinyGpt2.Sequences(9));
        var name = "transformer.h.1.attn.";
        using var fit = Ekfac.Fit(
            model.Task(),
            data,
            new Ekfac.Options
            {
                OutputSplits = new Dictionary<string, IReadOnlyList<long>>
                {
                    [name + "c_attn.weight"] = [TinyGpt2.Width, TinyGpt2.Width, TinyGpt2.Width],
                },
            }
        );
        var influence = new InfluenceFunction(fit) { Tolerance = 0 };
        using var layers = influence.ScoreLayers(model.Task(), data, data with { BatchSize = 4 });
        using var heads = influence.ScoreHeads(
            model.Task(),
            data,
            data,
            new(name + "c_attn.weight[q]", name + "c_attn.weight[k]", name + "c_attn.weight[v]", name + "c_proj.weight", TinyGpt2.HeadCount)
        );

        var expected = new[] { "c_attn.weight", "c_attn.bias", "c_proj.weight", "c_proj.bias" }
            .Select(l => layers[name + l].Values)
            .Aggregate((a, b) => a + b);
        Assert.True(SingleExampleLoop.RelativeError(heads.Select(h => h.Scores.Values).Aggregate((a, b) => a + b), expected) < Rounding);
        Assert.True(
            SingleExampleLoop.RelativeError(heads[TinyGpt2.HeadCount].Scores.Values, layers[name + "c_proj.bias"].Values) < Rounding
        );
        Assert.All(heads, head => Assert.True(head.Scores.Values.abs().max().item<double>() > 0));

        var wrong = Assert.Throws<InfluenceException>(() =>
            influence.ScoreHeads(
                model.Task(),
                data,
                data,
                new(name + "c_attn.weight[q]", name + "c_attn.weight[k]", name + "c_attn.weight[v]", name + "c_proj.weight", 4)
            )
        );
        Assert.Contains("3 x 4 heads", wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WrongSplitsNameTheOutputs()
    {
        using var scope = NewDisposeScope();
        var (packed, _, examples) = Models();
        var options = LayerwiseMethods.Empirical with
        {
            OutputSplits = new Dictionary<string, IReadOnlyList<long>> { ["c_attn.weight"] = [2, 2, 2] },
        };
        var thrown = Assert.Throws<InfluenceException>(() => Ekfac.Fit(Task(packed), examples, options));
        Assert.Contains("sums to 6, but the layer has 18 outputs", thrown.Message, StringComparison.Ordinal);
    }

    private static InfluenceTask Task(Composite model) =>
        new(model) { TrainingLoss = b => ModelCase.SquaredNorm(model.call(b["x"]), b["y"]) };

    private static (Composite Packed, Composite Separate, Examples Examples) Models()
    {
        random.manual_seed(20);
        var (attn, proj) = (
            new TransposedLinear(Width, 3 * Width, hasBias: false, dtype: float64),
            new TransposedLinear(Width, Width, hasBias: false, dtype: float64)
        );
        var (q, k, v, o) = (Linear(), Linear(), Linear(), Linear());
        using (no_grad())
        {
            nn.init.normal_(attn.get_parameter("weight")!, 0, 0.5);
            nn.init.normal_(proj.get_parameter("weight")!, 0, 0.5);
            foreach (var (layer, part) in new[] { q, k, v }.Zip(attn.get_parameter("weight")!.chunk(3, 1)))
            {
                layer.weight.copy_(part.t());
            }

            o.weight.copy_(proj.get_parameter("weight")!.t());
        }

        var packed = new Composite(x => proj.call(Mix(attn.call(x).chunk(3, -1))), ("c_attn", attn), ("c_proj", proj));
        var separate = new Composite(x => o.call(Mix([q.call(x), k.call(x), v.call(x)])), ("q", q), ("k", k), ("v", v), ("o", o));
        packed.eval();
        separate.eval();
        return (
            packed,
            separate,
            Examples.FromTensors(("x", randn([12, 4, Width], dtype: float64)), ("y", randn([12, 4, Width], dtype: float64)))
        );

        static TorchSharp.Modules.Linear Linear() => nn.Linear(Width, Width, hasBias: false, dtype: float64);

        static Tensor Mix(Tensor[] qkv)
        {
            var (b, t) = (qkv[0].shape[0], qkv[0].shape[1]);
            var h = qkv.Select(y => y.reshape(b, t, 2, -1).transpose(1, 2)).ToArray();
            return h[0].matmul(h[1].transpose(2, 3)).softmax(-1).matmul(h[2]).transpose(1, 2).reshape(b, t, Width);
        }
    }
}
