using System.Globalization;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests;

public sealed class CheckpointTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Fact]
    public void WeightsAndBuffersReadBack()
    {
        var (saved, other) = (Model(), Model());
        using (no_grad())
        {
            saved.train();
            for (var i = 0; i < 3; i++)
            {
                _ = saved.call(randn(8, 4));
            }
        }

        var path = _folder.Path("c.safetensors");
        Checkpoint.Save(path, saved, 0.1, step: 7);
        var read = Checkpoint.FromFile(path);
        var weight = other.get_parameter("first.weight")!;
        read.LoadInto(other);

        Assert.Equal((0.1, 7, path), (read.LearningRate, read.Step, read.FilePath));
        Assert.Equal(0.5, Checkpoint.FromFile(path, learningRate: 0.5).LearningRate);
        foreach (var (name, value) in saved.state_dict())
        {
            Assert.True(value.eq(other.state_dict()[name]).all().item<bool>(), name);
        }

        Assert.True(weight.eq(saved.get_parameter("first.weight")!).all().item<bool>());
        Assert.True(other.parameters().All(p => p.requires_grad));
    }

    [Fact]
    public void ALearningRateIsKeptToTheLastDigit()
    {
        var path = _folder.Path("c.safetensors");
        foreach (var rate in new[] { 1.2658227848102442e-05, 0.1, 1e-300, 0 })
        {
            Checkpoint.Save(path, Model(), rate);
            Assert.Equal(rate, Checkpoint.FromFile(path).LearningRate);
        }
    }

    [Fact]
    public void ACheckpointOfAnotherModel()
    {
        var other = nn.Sequential(("first", nn.Linear(4, 6)), ("norm", nn.BatchNorm1d(6)), ("head", nn.Linear(6, 2)));
        var model = Model();
        var before = model.state_dict().ToDictionary(p => p.Key, p => p.Value.clone());

        var thrown = Assert.Throws<InfluenceException>(() => Checkpoint.Save(_folder.Path("c"), other, 1).LoadInto(model));

        Assert.Contains("the checkpoint lacks last.weight, last.bias", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("the model lacks head.weight, head.bias", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("first.weight [5, 4] against [6, 4]", thrown.Message, StringComparison.Ordinal);
        foreach (var (name, value) in before)
        {
            Assert.True(value.eq(model.state_dict()[name]).all().item<bool>(), name);
        }
    }

    [Fact]
    public void EveryTruncationIsNoticed()
    {
        var model = nn.Linear(2, 1);
        var path = _folder.Path("c");
        var checkpoint = Checkpoint.Save(path, model, 1);
        var whole = File.ReadAllBytes(path);
        for (var length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path));
            Assert.Throws<InfluenceException>(() => checkpoint.LoadInto(model));
        }
    }

    [Fact]
    public void AFileThatNamesNoLearningRate()
    {
        var path = _folder.Path("c");
        Influence.Formats.Safetensors.Save(path, [("w", tensor(1f))], new Dictionary<string, string>());
        var thrown = Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path));
        Assert.Contains("learningRate:", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("finite", Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path, double.NaN)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AFileThatCannotBeWrittenLeavesNothing()
    {
        File.WriteAllText(_folder.Path("file"), "not a folder");
        Assert.Throws<InfluenceException>(() => Checkpoint.Save(_folder.Path("file/c"), Model(), 1));
        Assert.Equal(["file"], _folder.Files);
    }

    [Fact]
    public void OneLine()
    {
        var culture = CultureInfo.CurrentCulture;
        try
        {
            CultureInfo.CurrentCulture = new CultureInfo(string.Empty) { NumberFormat = { NumberDecimalSeparator = "," } };
            Assert.Equal("step 7, learning rate 0.1", Checkpoint.Save(_folder.Path("c"), Model(), 0.1, 7).ToString());
            Assert.Equal(0.1, Checkpoint.FromFile(_folder.Path("c")).LearningRate);
        }
        finally
        {
            CultureInfo.CurrentCulture = culture;
        }
    }

    [Fact]
    public void NoTensorIsLeftBehind()
    {
        var model = Model();
        _ = model.state_dict();
        var before = LiveTensors.OnThisThread;
        var checkpoint = Checkpoint.Save(_folder.Path("c"), model, 1);
        checkpoint.LoadInto(model);
        Assert.Equal(before, LiveTensors.OnThisThread);
    }

    private static TorchSharp.Modules.Sequential Model() =>
        nn.Sequential(("first", nn.Linear(4, 5)), ("norm", nn.BatchNorm1d(5)), ("last", nn.Linear(5, 2)));
}
