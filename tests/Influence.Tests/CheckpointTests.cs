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
        Assert.Contains(
            "finite",
            Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path, double.NaN)).Message,
            StringComparison.Ordinal
        );
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

    [Theory]
    [InlineData(double.NaN, 0)]
    [InlineData(double.PositiveInfinity, 0)]
    [InlineData(-0.1, 0)]
    [InlineData(0.1, -1)]
    public void RatesAndStepsThatNoTrainingHas(double rate, long step)
    {
        var path = _folder.Path("c");
        Assert.Contains(
            "Nothing was saved",
            Assert.Throws<InfluenceException>(() => Checkpoint.Save(path, Model(), rate, step)).Message,
            StringComparison.Ordinal
        );
        Assert.Empty(_folder.Files);
        Written(
            new()
            {
                ["influence.learning_rate"] = rate.ToString(CultureInfo.InvariantCulture),
                ["influence.step"] = step.ToString(CultureInfo.InvariantCulture),
            },
            ("w", tensor(1f))
        );
        Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path));
        Written(new() { ["influence.learning_rate"] = "0,1" }, ("w", tensor(1f)));
        Assert.Contains("\"0,1\"", Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WeightsThatAreNoNumbersAreNeitherSavedNorLoaded()
    {
        var model = Model();
        var path = _folder.Path("c");
        var good = Checkpoint.Save(path, model, 0.1);
        var bytes = File.ReadAllBytes(path);
        using (no_grad())
        {
            model.get_parameter("last.bias")!.fill_(double.NaN);
        }

        Assert.Contains(
            "last.bias",
            Assert.Throws<InfluenceException>(() => Checkpoint.Save(path, model, 0.1, 5)).Message,
            StringComparison.Ordinal
        );
        Assert.Equal(bytes, File.ReadAllBytes(path));
        Written(Rate(), [.. model.state_dict().Select(p => (p.Key, p.Value))]);
        var target = Model();
        var before = target.state_dict().ToDictionary(p => p.Key, p => p.Value.clone());
        Assert.Contains(
            "last.bias holds NaN",
            Assert.Throws<InfluenceException>(() => Checkpoint.FromFile(path).LoadInto(target)).Message,
            StringComparison.Ordinal
        );
        Assert.All(before, pair => Assert.True(pair.Value.eq(target.state_dict()[pair.Key]).all().item<bool>()));
        Assert.Equal(0.1, good.LearningRate);
    }

    /// <summary>Float types become the model's; whole numbers do not become weights, and weights that do not fit are no weights.</summary>
    [Fact]
    public void TypesOfNumbers()
    {
        var model = nn.Linear(2, 1);
        var values = tensor(
            new[,]
            {
                { 0.5, -2 },
            }
        );
        foreach (var (type, name) in new[] { (ScalarType.Float16, "F16"), (ScalarType.BFloat16, "BF16"), (ScalarType.Float64, "F64") })
        {
            Written(Rate(), ("weight", values.to_type(type)), ("bias", zeros(1)));
            Assert.Contains($"converted: weight {name} to Float32", FromFile().LoadInto(model));
            Assert.Equal([0.5f, -2f], model.weight.data<float>().ToArray());
        }

        Written(Rate(), ("weight", values.to_type(ScalarType.Int32)), ("bias", zeros(1)));
        Assert.Contains(
            "weight Float32 against I32",
            Assert.Throws<InfluenceException>(() => FromFile().LoadInto(model)).Message,
            StringComparison.Ordinal
        );
        Written(Rate(), ("weight", values * 1e300), ("bias", zeros(1)));
        Assert.Contains(
            "weight has numbers that Float32 cannot hold",
            Assert.Throws<InfluenceException>(() => FromFile().LoadInto(model)).Message,
            StringComparison.Ordinal
        );
        Assert.Equal([0.5f, -2f], model.weight.data<float>().ToArray());
    }

    [Fact]
    public void ATiedWeightMayBeStoredOnceAndItsCopiesMustAgree()
    {
        var model = new Tied();
        var weight = randn(4, 3);
        Written(Rate(), ("embed.weight", weight));
        Assert.Contains(FromFile().LoadInto(model), note => note.Contains("head.weight is tied to embed.weight", StringComparison.Ordinal));
        Assert.True(model.Head.weight.eq(weight).all().item<bool>());

        Written(Rate(), ("embed.weight", weight), ("head.weight", weight + 1));
        var thrown = Assert.Throws<InfluenceException>(() => FromFile().LoadInto(model));
        Assert.Contains(
            "embed.weight and head.weight are one tensor in the model, but the file has two that differ",
            thrown.Message,
            StringComparison.Ordinal
        );
        Written(Rate(), ("embed.weight", weight), ("head.weight", weight));
        Assert.DoesNotContain(FromFile().LoadInto(model), note => note.Contains("tied", StringComparison.Ordinal));
    }

    [Fact]
    public void NamesOfOtherTools()
    {
        var model = Model();
        var state = model.state_dict().ToDictionary(p => p.Key, p => p.Value.clone());
        (string, Tensor)[] Named(string prefix) =>
            [.. state.Where(p => p.Key != "norm.num_batches_tracked").Select(p => (prefix + p.Key, p.Value))];

        // The counter of a norm's batches is of no use to anyone here.
        Written(Rate(), Named(string.Empty));
        Assert.Contains("not in the file, left as they are: norm.num_batches_tracked", FromFile().LoadInto(model));

        // Prefixes and extra tensors: told what to write, then done and told.
        Written(Rate(), [.. Named("module."), ("module.attn.mask", zeros(2))]);
        Assert.Contains(
            "Lenient = true",
            Assert.Throws<InfluenceException>(() => FromFile().LoadInto(model)).Message,
            StringComparison.Ordinal
        );
        var notes = FromFile(new() { Lenient = true }).LoadInto(model);
        Assert.Contains(
            notes,
            note => note.StartsWith("the prefix of a wrapper was taken off: module.first.weight", StringComparison.Ordinal)
        );
        Assert.Contains("not in the model, left out: module.attn.mask", notes);

        notes = FromFile(new() { Rename = name => name == "module.attn.mask" ? null : name["module.".Length..] }).LoadInto(model);
        Assert.Contains("left out by Rename: module.attn.mask", notes);
        Assert.Contains(
            "both become",
            Assert.Throws<InfluenceException>(() => FromFile(new() { Rename = _ => "first.weight" }).LoadInto(model)).Message,
            StringComparison.Ordinal
        );
    }

    /// <summary>What is trained must come from the file; what is frozen may stay, as under an adapter.</summary>
    [Fact]
    public void LenientDoesNotLeaveATrainedWeightOut()
    {
        var model = Model();
        Written(Rate(), ("first.weight", zeros(5, 4)), ("first.bias", zeros(5)));
        var lenient = FromFile(new() { Lenient = true });
        Assert.Contains(
            "lacks norm.weight",
            Assert.Throws<InfluenceException>(() => lenient.LoadInto(model)).Message,
            StringComparison.Ordinal
        );
        foreach (var (name, parameter) in model.named_parameters())
        {
            parameter.requires_grad = name.StartsWith("first", StringComparison.Ordinal);
        }

        Assert.Contains(lenient.LoadInto(model), note => note.Contains("left as they are: norm.weight", StringComparison.Ordinal));
        Assert.Equal(0, model.get_parameter("first.weight")!.abs().sum().item<float>());
        Written(Rate(), ("something", zeros(5)));
        Assert.Contains(
            "no name of the file",
            Assert.Throws<InfluenceException>(() => FromFile(new() { Lenient = true }).LoadInto(model)).Message,
            StringComparison.Ordinal
        );
    }

    [Fact]
    public void NamesInMessagesAreCutAndHarmless()
    {
        Written(Rate(), (new string('x', 5_000_000) + "\u001b[31m", zeros(1)), ("\u001b]0;title\u0007", zeros(1)));
        var message = Assert.Throws<InfluenceException>(() => FromFile().LoadInto(Model())).Message;
        Assert.InRange(message.Length, 100, 3000);
        Assert.DoesNotContain(message, c => char.IsControl(c));
    }

    [Fact]
    public void FilesOfOtherToolsSayThatTheyAreUnverified()
    {
        var ours = Checkpoint.Save(_folder.Path("c"), nn.Linear(1, 1), 0.1);
        Assert.Empty(ours.Integrity);
        Assert.Empty(FromFile().Integrity);
        const string Header =
            """{"weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"bias":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""";
        File.WriteAllBytes(
            _folder.Path("c"),
            [(byte)Header.Length, 0, 0, 0, 0, 0, 0, 0, .. System.Text.Encoding.UTF8.GetBytes(Header), .. new byte[8]]
        );
        var theirs = Checkpoint.FromFile(_folder.Path("c"), 0.1);
        Assert.StartsWith("unverified", theirs.Integrity, StringComparison.Ordinal);
        Assert.Contains(theirs.LoadInto(nn.Linear(1, 1)), note => note.StartsWith("unverified", StringComparison.Ordinal));
    }

    private static Dictionary<string, string> Rate() => new() { ["influence.learning_rate"] = "0.1" };

    private void Written(Dictionary<string, string> metadata, params (string Name, Tensor Value)[] tensors) =>
        Influence.Formats.Safetensors.Save(_folder.Path("c"), tensors, metadata);

    private Checkpoint FromFile(Checkpoint.Options? matching = null) => Checkpoint.FromFile(_folder.Path("c"), matching: matching);

    private static TorchSharp.Modules.Sequential Model() =>
        nn.Sequential(("first", nn.Linear(4, 5)), ("norm", nn.BatchNorm1d(5)), ("last", nn.Linear(5, 2)));

    private sealed class Tied : nn.Module<Tensor, Tensor>
    {
        private readonly TorchSharp.Modules.Linear embed = nn.Linear(3, 4, hasBias: false);
        private readonly TorchSharp.Modules.Linear head = nn.Linear(3, 4, hasBias: false);

        public Tied()
            : base(nameof(Tied))
        {
            head.weight = embed.weight;
            RegisterComponents();
        }

        public TorchSharp.Modules.Linear Head => head;

        public override Tensor forward(Tensor input) => head.call(input);
    }
}
