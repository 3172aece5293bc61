using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>Tensors and parameters of other float types than the part that is scored: the delegate's and the model's own
/// business.</summary>
public sealed class FloatTypesTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Tensor _x;

    public FloatTypesTests()
    {
        random.manual_seed(5);
        _x = randn(12, 4);
    }

    public void Dispose() => _scope.Dispose();

    /// <summary>Read by the loss or by nobody: what autograd takes is right, and equals the loop.</summary>
    [Theory]
    [InlineData(ScalarType.Float64, "a weight of each example")]
    [InlineData(ScalarType.Float16, "a weight of each example")]
    [InlineData(ScalarType.BFloat16, "inputs that the loss converts")]
    [InlineData(ScalarType.Float16, "inputs that the loss converts")]
    [InlineData(ScalarType.Float64, "read by nobody")]
    public void ATensorOfTheExamples(ScalarType type, string use)
    {
        var model = nn.Sequential(("hidden", nn.Linear(4, 5)), ("act", nn.Tanh()), ("head", nn.Linear(5, 1)));
        var other = (use == "a weight of each example" ? rand(12) : _x).to_type(type);
        Tensor Loss(Tensor x, Tensor w) =>
            use switch
            {
                "a weight of each example" => model.call(x).Squared().sum(1) * w,
                "inputs that the loss converts" => model.call(w.to_type(float32)).Squared().sum(1),
                _ => model.call(x).Squared().sum(1),
            };

        var task = new InfluenceTask(model) { TrainingLoss = b => Loss(b["x"], b["w"]) };
        var train = Examples.FromTensors(("x", _x), ("w", other));
        using var scores = new TracIn().Score(task, train, train);

        var rows = PlainRows(
            model.named_parameters().Select(p => (Tensor)p.parameter),
            12,
            i => Loss(_x.narrow(0, i, 1), other.narrow(0, i, 1))
        );
        AssertEqual(scores.Values, rows.mm(rows.t()), 1e-5);
    }

    [Fact]
    public void OneThatTheModelReadsSaysWhatToConvert()
    {
        var model = nn.Linear(4, 1);
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b["x"]).Squared().sum(1) };
        var train = Examples.FromTensors(("x", _x.to_type(float64)));
        var error = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, train, train));
        Assert.Contains("x.to_type(ScalarType.Float32)", error.Message, StringComparison.Ordinal);
    }

    /// <summary>A body in half precision that is trained too, and the head in float32 alone is scored.</summary>
    [Fact]
    public void AHeadOverABodyInHalfPrecision()
    {
        var (body, head) = (nn.Linear(4, 6, dtype: bfloat16), nn.Linear(6, 1));
        var model = new Composite(x => head.call(body.call(x.to_type(bfloat16)).tanh().to_type(float32)), ("body", body), ("head", head));
        var task = new InfluenceTask(model)
        {
            TrainingLoss = b => model.call(b["x"]).Squared().sum(1),
            Layers = LayerSelection.Where(name => name.StartsWith("head", StringComparison.Ordinal)),
        };
        var train = Examples.FromTensors(("x", _x));
        using var scores = new TracIn().Score(task, train, train);

        var rows = PlainRows(head.parameters(), 12, i => model.call(_x.narrow(0, i, 1)).Squared().sum(1));
        AssertEqual(scores.Values, rows.mm(rows.t()), 1e-5);
        Assert.True(body.weight!.requires_grad);

        var whole = Assert.Throws<InfluenceException>(() => new TracIn().Score(task with { Layers = LayerSelection.All }, train, train));
        Assert.Contains("InfluenceTask.Layers", whole.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AModelMadeInInferenceMode()
    {
        nn.Module<Tensor, Tensor> model;
        using (inference_mode())
        {
            model = nn.Linear(4, 1);
        }

        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b["x"]).Squared().sum(1) };
        var train = Examples.FromTensors(("x", _x));
        var error = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, train, train));
        Assert.Contains("inference_mode", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ACallWithinInferenceMode()
    {
        var model = nn.Linear(4, 1);
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b["x"]).Squared().sum(1) };
        var train = Examples.FromTensors(("x", _x));
        using var mode = inference_mode();
        var error = Assert.Throws<InfluenceException>(() => new TracIn().Score(task, train, train));
        Assert.Contains("inference_mode", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NothingOnTheMetaDevice()
    {
        var model = nn.Linear(4, 1);
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b["x"]).Squared().sum(1) };
        var data = Assert.Throws<InfluenceException>(() =>
            new TracIn().Score(task, Examples.FromTensors(("x", _x.to(META))), Examples.FromTensors(("x", _x)))
        );
        Assert.Contains("meta", data.Message, StringComparison.Ordinal);
        var empty = nn.Linear(4, 1, device: META);
        var without = new InfluenceTask(empty) { TrainingLoss = b => empty.call(b["x"]).Squared().sum(1) };
        var train = Examples.FromTensors(("x", _x));
        var error = Assert.Throws<InfluenceException>(() => new TracIn().Score(without, train, train));
        Assert.Contains("meta", error.Message, StringComparison.Ordinal);
    }

    private static Tensor PlainRows(IEnumerable<Tensor> parameters, int count, Func<int, Tensor> loss)
    {
        Tensor[] all = [.. parameters];
        return stack([
            .. Enumerable
                .Range(0, count)
                .Select(i =>
                    cat([.. autograd.grad([loss(i).sum()], all).Select((g, k) => (g ?? zeros_like(all[k])).flatten().to_type(float64))])
                ),
        ]);
    }

    private static void AssertEqual(Tensor actual, Tensor expected, double tolerance)
    {
        var error = ((actual.to_type(float64) - expected).abs().max() / expected.abs().max()).item<double>();
        Assert.True(error < tolerance, $"{error:E2} of the largest");
    }
}
