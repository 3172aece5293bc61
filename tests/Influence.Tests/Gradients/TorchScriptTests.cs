using Influence.Estimators;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Gradients;

/// <summary>
/// Modules that <c>torch.jit.load</c> reads, whose layers no hook reaches: single examples take their gradients. The file is PyTorch's
/// <c>torch.jit.script</c> of Linear(3, 4), tanh, Linear(4, 2).
/// </summary>
public sealed class TorchScriptTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly jit.ScriptModule<Tensor, Tensor> _script = jit.load<Tensor, Tensor>(
        Path.Combine(AppContext.BaseDirectory, "Gradients", "Data", "scripted.pt")
    );
    private readonly Tensor _x;

    public TorchScriptTests()
    {
        random.manual_seed(2);
        _x = randn(7, 3);
    }

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void TheWholeModel() => Check(_script, _script.call);

    [Fact]
    public void APartOfAModel()
    {
        var head = nn.Linear(2, 3);
        Check(new Composite(x => head.call(_script.call(x)), ("script", _script), ("head", head)), x => head.call(_script.call(x)));
    }

    [Fact]
    public void Checkpoints()
    {
        using var folder = new TempFolder();
        var path = folder.Path("script.safetensors");
        var checkpoint = Checkpoint.Save(path, _script, learningRate: 0.5);
        var task = new InfluenceTask(_script) { TrainingLoss = b => _script.call(b["x"]).Squared().sum(1) };
        var train = Examples.FromTensors(("x", _x));
        using var plain = new TracIn().Score(task, train, train);
        using var scores = new TracIn { Checkpoints = [checkpoint] }.Score(task, train, train);
        Assert.True((scores.Values - (plain.Values * 0.5)).abs().max().item<float>() < 1e-6);
    }

    private void Check(nn.Module model, Func<Tensor, Tensor> call)
    {
        var task = new InfluenceTask(model) { TrainingLoss = b => call(b["x"]).Squared().sum(1) };
        var train = Examples.FromTensors(("x", _x));
        using var scores = new TracIn().Score(task, train, train);

        Tensor[] all = [.. model.parameters()];
        var rows = stack([
            .. Enumerable
                .Range(0, 7)
                .Select(i => cat([.. autograd.grad([call(_x.narrow(0, i, 1)).Squared().sum()], all).Select(g => g.flatten())])),
        ]); // [7, P]
        var expected = rows.mm(rows.t());
        Assert.True(((scores.Values - expected).abs().max() / expected.abs().max()).item<float>() < 1e-5);
        Assert.Equal(1, scores.Metadata.Coverage);
    }
}
