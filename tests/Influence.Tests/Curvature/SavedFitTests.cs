using Influence.Curvature;
using Influence.Estimators;
using Influence.Formats;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Curvature;

/// <summary>Fits in files: the same scores to the last bit, and a word on everything that does not belong.</summary>
public sealed class SavedFitTests : IDisposable
{
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly TempFolder _folder = new();

    /// <summary>Every form of a block: factors, groups, tokens, diagonals, inputs that are shared, single parameters.</summary>
    public static TheoryData<string, string> Forms
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (var name in new[] { "mlp", "conv2d grouped", "embedding", "layer norm", "raw parameter", "attention grouped-query rotary padded" })
            {
                foreach (var method in LayerwiseMethods.All.Where(m => m != "gradient dot product"))
                {
                    data.Add(name, method);
                }
            }

            return data;
        }
    }

    private string Path => _folder.Path("fit.safetensors");

    public void Dispose()
    {
        _folder.Dispose();
        _scope.Dispose();
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void ALoadedFitGivesTheSameScores(string name, string method)
    {
        var made = Cases.Make(name);
        var examples = Examples.FromTensors(made.Inputs(9));
        var options = LayerwiseMethods.Empirical with { Damping = Damping.RelativeToMeanEigenvalue(0.03), Seed = 12, MaximumFactorSize = 5 };
        using var fit = LayerwiseMethods.FitLayerwise(method, made.Task(), examples, options);
        fit.Save(Path);
        using var loaded = LayerwiseMethods.Load(method, Path);

        Assert.Equal(fit.Info, loaded.Info);
        Assert.Equal(fit.MeanEigenvalues, loaded.MeanEigenvalues);
        foreach (var normalization in new[] { InfluenceFunction.ScoreNormalization.None, InfluenceFunction.ScoreNormalization.Theta })
        {
            Assert.Equal(Scores(fit), Scores(loaded));

            double[] Scores(Preconditioner preconditioner) =>
                [.. new InfluenceFunction(preconditioner) { Normalization = normalization }.Score(made.Task(), examples, examples).Values.contiguous().data<double>()];
        }
    }

    [Fact]
    public void WhatAScoreIsStaysWithIt()
    {
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train, new() { Seed = 7 });
        using var scores = new InfluenceFunction(fit).Score(c.Task(), c.Train, c.Queries);
        scores.Save(_folder.Path("scores.safetensors"));
        using var loaded = InfluenceScores.Load(_folder.Path("scores.safetensors"));

        Assert.Equal(scores.Metadata, loaded.Metadata);
        Assert.Equal("influence function (EK-FAC)", loaded.Metadata.Estimator);
        Assert.Contains("true Fisher, labels sampled from the model, 11 examples, seed 7", loaded.Metadata.Curvature, StringComparison.Ordinal);
        Assert.Equal(1.0 / 11, loaded.Metadata.LeaveOneOutFactor);

        // The damping as asked for, and the number of each block.
        Assert.StartsWith("0.1 x mean eigenvalue: ", loaded.Metadata.Damping, StringComparison.Ordinal);
        foreach (var (parameters, mean) in fit.MeanEigenvalues)
        {
            Assert.Contains(FormattableString.Invariant($"{parameters} {0.1 * mean:G6}"), loaded.Metadata.Damping, StringComparison.Ordinal);
        }

        using var empirical = Ekfac.Fit(c.Task(), c.Train, LayerwiseMethods.Empirical);
        using var normalized = new InfluenceFunction(empirical) { Normalization = InfluenceFunction.ScoreNormalization.Loss }.Score(c.Task(), c.Train, c.Queries);
        Assert.Contains("empirical Fisher", normalized.Metadata.Curvature, StringComparison.Ordinal);
        Assert.Null(normalized.Metadata.LeaveOneOutFactor);
    }

    [Fact]
    public void AFitOfAnotherMethodIsRefused()
    {
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train);
        fit.Save(Path);

        foreach (var method in new[] { "K-FAC", "diagonal Fisher" })
        {
            var thrown = Assert.Throws<InfluenceException>(() => LayerwiseMethods.Load(method, Path));
            Assert.Contains("EK-FAC", thrown.Message, StringComparison.Ordinal);
            Assert.Contains(method, thrown.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void OtherWeightsAreRefusedUntilTheOldOnesAreBack()
    {
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train);
        fit.Save(Path);
        using var expected = new InfluenceFunction(fit).Score(c.Task(), c.Train, c.Queries);
        var checkpoint = Checkpoint.Save(_folder.Path("weights"), c.Model, 0.1);
        using (no_grad())
        {
            c.Head.bias!.add_(1e-9);
        }

        using var loaded = Ekfac.Load(Path);
        var influence = new InfluenceFunction(loaded);
        var thrown = Assert.Throws<InfluenceException>(() => influence.Score(c.Task(), c.Train, c.Queries));
        Assert.Contains("fitted at other weights", thrown.Message, StringComparison.Ordinal);
        Assert.Throws<InfluenceException>(() => influence.SelfInfluence(c.Task(), c.Train));

        // Another model object with the weights of the checkpoint.
        using var again = new Classifier();
        using (no_grad())
        {
            again.Hidden.weight.zero_();
        }

        checkpoint.LoadInto(again.Model);
        using var scores = influence.Score(again.Task(), again.Train, again.Queries);
        Assert.Equal(expected.Values.data<double>().ToArray(), scores.Values.data<double>().ToArray());
    }

    [Fact]
    public void OtherLayersAreRefused()
    {
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train);
        var head = new InfluenceTask(c.Model) { TrainingLoss = c.Loss, Layers = LayerSelection.Last };

        var thrown = Assert.Throws<InfluenceException>(() => new InfluenceFunction(fit).Score(head, c.Train, c.Queries));

        Assert.Contains("Layers", thrown.Message, StringComparison.Ordinal);
    }

    /// <summary>Cut at any place, the file is refused and nothing of it stays in memory.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(300)]
    [InlineData(-1)]
    [InlineData(-200)]
    public void ATruncatedFileIsRefused(int length)
    {
        using var c = new Classifier();
        using (var fit = Ekfac.Fit(c.Task(), c.Train))
        {
            fit.Save(Path);
        }

        var bytes = File.ReadAllBytes(Path);
        File.WriteAllBytes(Path, bytes[..(length < 0 ? bytes.Length + length : length)]);
        AssertRefused();
    }

    /// <summary>Without any one of its tensors or entries a file is told to be incomplete, and nothing of it stays in memory.</summary>
    [Theory]
    [InlineData("mlp")]
    [InlineData("conv2d grouped")]
    [InlineData("embedding")]
    [InlineData("layer norm")]
    public void AFileThatLacksAnythingIsRefused(string name)
    {
        var made = Cases.Make(name);
        using (var fit = Ekfac.Fit(made.Task(), Examples.FromTensors(made.Inputs(9)), LayerwiseMethods.Empirical))
        {
            fit.Save(Path);
        }

        var (tensors, metadata) = Safetensors.Load(Path);
        foreach (var missing in tensors.Keys)
        {
            Safetensors.Save(Path, [.. tensors.Where(t => t.Key != missing).Select(t => (t.Key, t.Value))], metadata);
            Assert.Contains("lacks", AssertRefused(), StringComparison.Ordinal);
        }

        foreach (var missing in metadata.Keys)
        {
            Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Value))], metadata.Where(m => m.Key != missing).ToDictionary());
            AssertRefused();
        }

        foreach (var changed in metadata.Keys.Where(key => key.EndsWith(".form", StringComparison.Ordinal) || key.EndsWith("seed", StringComparison.Ordinal) || key.EndsWith("examples", StringComparison.Ordinal) || key.EndsWith("damping", StringComparison.Ordinal)))
        {
            Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Value))], new Dictionary<string, string>(metadata) { [changed] = "nonsense" });
            Assert.Contains("nonsense", AssertRefused(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void AMissingFileAndAnotherEndingAreRefused()
    {
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train);

        Assert.Contains("none.safetensors", Assert.Throws<InfluenceException>(() => Ekfac.Load(_folder.Path("none.safetensors"))).Message, StringComparison.Ordinal);
        Assert.Contains("safetensors", Assert.Throws<InfluenceException>(() => fit.Save(_folder.Path("fit.dat"))).Message, StringComparison.Ordinal);
        Assert.Empty(_folder.Files);
    }

    private string AssertRefused()
    {
        // Once to let TorchSharp make what it keeps.
        Assert.Throws<InfluenceException>(() => Ekfac.Load(Path));
        var before = LiveTensors.OnThisThread;
        var thrown = Assert.Throws<InfluenceException>(() => Ekfac.Load(Path));
        Assert.Equal(before, LiveTensors.OnThisThread);
        return thrown.Message;
    }
}
