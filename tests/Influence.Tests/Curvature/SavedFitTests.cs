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
            foreach (
                var name in new[]
                {
                    "mlp",
                    "conv2d grouped",
                    "embedding",
                    "layer norm",
                    "raw parameter",
                    "attention grouped-query rotary padded",
                }
            )
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
        var options = LayerwiseMethods.Empirical with
        {
            Damping = Damping.RelativeToMeanEigenvalue(0.03),
            Seed = 12,
            MaximumFactorSize = 5,
        };
        using var fit = LayerwiseMethods.FitLayerwise(method, made.Task(), examples, options);
        fit.Save(Path);
        using var loaded = LayerwiseMethods.Load(method, Path);

        Assert.Equal(fit.Info, loaded.Info);
        Assert.Equal(fit.MeanEigenvalues, loaded.MeanEigenvalues);
        foreach (var normalization in new[] { InfluenceFunction.ScoreNormalization.None, InfluenceFunction.ScoreNormalization.Theta })
        {
            Assert.Equal(Scores(fit), Scores(loaded));

            double[] Scores(Preconditioner preconditioner) =>
                [
                    .. new InfluenceFunction(preconditioner) { Normalization = normalization }
                        .Score(made.Task(), examples, examples)
                        .Values.contiguous()
                        .data<double>(),
                ];
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
        Assert.Contains(
            "true Fisher, labels sampled from the model, 11 examples, seed 7",
            loaded.Metadata.Curvature,
            StringComparison.Ordinal
        );
        Assert.Equal(1.0 / 11, loaded.Metadata.LeaveOneOutFactor);

        // The damping as asked for, and the number of each block.
        Assert.StartsWith("0.1 x mean eigenvalue: ", loaded.Metadata.Damping, StringComparison.Ordinal);
        foreach (var (parameters, mean) in fit.MeanEigenvalues)
        {
            Assert.Contains(
                FormattableString.Invariant($"{parameters} {0.1 * mean:G6}"),
                loaded.Metadata.Damping,
                StringComparison.Ordinal
            );
        }

        using var empirical = Ekfac.Fit(c.Task(), c.Train, LayerwiseMethods.Empirical);
        using var normalized = new InfluenceFunction(empirical) { Normalization = InfluenceFunction.ScoreNormalization.Loss }.Score(
            c.Task(),
            c.Train,
            c.Queries
        );
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

        // What the fit took is not needed: files of earlier versions do not say it.
        foreach (var missing in metadata.Keys.Where(key => key != "influence.curvature.cost"))
        {
            Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Value))], metadata.Where(m => m.Key != missing).ToDictionary());
            AssertRefused();
        }

        foreach (
            var changed in metadata.Keys.Where(key =>
                key.EndsWith(".form", StringComparison.Ordinal)
                || key.EndsWith("seed", StringComparison.Ordinal)
                || key.EndsWith("examples", StringComparison.Ordinal)
                || key.EndsWith("damping", StringComparison.Ordinal)
            )
        )
        {
            Safetensors.Save(
                Path,
                [.. tensors.Select(t => (t.Key, t.Value))],
                new Dictionary<string, string>(metadata) { [changed] = "nonsense" }
            );
            Assert.Contains("nonsense", AssertRefused(), StringComparison.Ordinal);
        }
    }

    /// <summary>With a checksum that is right: what no fit can hold is found by its type, shape, sign and size.</summary>
    [Theory]
    [InlineData("mlp", "block.0.eigenvalues")]
    [InlineData("mlp", "block.0.input.values")]
    [InlineData("mlp", "block.0.output.vectors.0")]
    [InlineData("conv2d grouped", "block.0.eigenvalues")]
    [InlineData("embedding", "block.0.eigenvalues")]
    [InlineData("layer norm", "block.1.diagonal.0")]
    public void TensorsThatNoFitHas(string name, string tensorName)
    {
        var made = Cases.Make(name);
        using (var fit = Ekfac.Fit(made.Task(), Examples.FromTensors(made.Inputs(9)), LayerwiseMethods.Empirical))
        {
            fit.Save(Path);
        }

        var (tensors, metadata) = Safetensors.Load(Path);
        if (!tensors.TryGetValue(tensorName, out var value))
        {
            tensorName = tensors.Keys.First(key =>
                key.EndsWith(tensorName.Split('.')[^1], StringComparison.Ordinal) || key.Contains(".diagonal.", StringComparison.Ordinal)
            );
            value = tensors[tensorName];
        }

        var isVector = tensorName.Contains("vectors", StringComparison.Ordinal);
        Tensor[] wrong =
        [
            value.to_type(ScalarType.Int32),
            value.to_type(ScalarType.Float16),
            value * double.NaN,
            value * double.PositiveInfinity,
            isVector ? value * 2 : -value - 1,
            value.unsqueeze(0),
            value.narrow(0, 0, 0),
        ];
        Tensor[] otherSizes = [value.narrow(0, 0, value.shape[0] - 1), cat([value, value], 0)];
        foreach (var other in wrong)
        {
            Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Key == tensorName ? other : t.Value))], metadata);
            AssertRefused();
        }

        // How many tokens or elements there are, the file alone does not tell: then the task does.
        var examples = Examples.FromTensors(made.Inputs(9));
        foreach (var other in otherSizes)
        {
            Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Key == tensorName ? other : t.Value))], metadata);
            Assert.Throws<InfluenceException>(() =>
            {
                using var loaded = Ekfac.Load(Path);
                new InfluenceFunction(loaded).Score(made.Task(), examples, examples).Dispose();
            });
        }

        if (value.dim() == 2 && value.shape[0] != value.shape[1])
        {
            Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Key == tensorName ? value.t() : t.Value))], metadata);
            Assert.Contains("expected [", AssertRefused(), StringComparison.Ordinal);
        }

        Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Value)), ("block.77.eigenvalues", ones(2))], metadata);
        Assert.Contains("block.77.eigenvalues", AssertRefused(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("influence.curvature.examples", "0")]
    [InlineData("influence.curvature.examples", "-1")]
    [InlineData("influence.curvature.examples", "4294967301")]
    [InlineData("influence.curvature.blocks", "-1")]
    [InlineData("influence.curvature.blocks", "1")]
    [InlineData("influence.curvature.blocks", "2147483647")]
    [InlineData("influence.curvature.damping", "0.1 x mean eigenvalud")]
    [InlineData("influence.curvature.damping", "-1 absolute")]
    [InlineData("influence.curvature.damping", "NaN x mean eigenvalue")]
    [InlineData("influence.curvature.block.99.name", "x")]
    [InlineData("influence.curvature.block.", "x")]
    [InlineData("influence.curvature.block.0.input", "-5")]
    [InlineData("influence.curvature.block.0.form", "\u001b[31mform")]
    public void EntriesThatNoFitHas(string key, string value)
    {
        using var c = new Classifier();
        using (var fit = Ekfac.Fit(c.Task(), c.Train))
        {
            fit.Save(Path);
        }

        var (tensors, metadata) = Safetensors.Load(Path);
        Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Value))], new Dictionary<string, string>(metadata) { [key] = value });
        Assert.DoesNotContain('\u001b', AssertRefused());
    }

    /// <summary>Solvers' fits too: eigenvalues that are NaN, vectors of another shape or length, and for Nystrom negative ones.</summary>
    [Fact]
    public void EigenpairsThatNoFitHas()
    {
        using var c = new Classifier();
        using (var nystrom = Nystrom.Fit(c.Task(), c.Train, new() { Rank = 3 }))
        {
            nystrom.Save(_folder.Path("nystrom.safetensors"));
            using var loaded = Nystrom.Load(_folder.Path("nystrom.safetensors"));
            Assert.Equal((nystrom.Info, nystrom.Eigenvalues.Count), (loaded.Info, loaded.Eigenvalues.Count));
        }

        using (var dense = DenseCurvature.Fit(c.Task(), c.Train))
        {
            dense.Save(_folder.Path("dense.safetensors"));
            using var loaded = DenseCurvature.Load(_folder.Path("dense.safetensors"));
            Assert.Equal(dense.Eigenvalues, loaded.Eigenvalues);
        }

        Changed("nystrom.safetensors", path => Nystrom.Load(path).Dispose(), negative: true);
        Changed("dense.safetensors", path => DenseCurvature.Load(path).Dispose(), negative: false);

        void Changed(string file, Action<string> load, bool negative)
        {
            var (tensors, metadata) = Safetensors.Load(_folder.Path(file));
            foreach (var (name, value) in tensors)
            {
                Tensor[] wrong = [value * double.NaN, value.to_type(ScalarType.Int32), value.narrow(0, 0, 0), cat([value, value], 0)];
                wrong =
                    name == "eigenvectors" ? [.. wrong, value * 2]
                    : name == "eigenvalues" && negative ? [.. wrong, -value]
                    : wrong;
                foreach (var other in wrong)
                {
                    Safetensors.Save(Path, [.. tensors.Select(t => (t.Key, t.Key == name ? other : t.Value))], metadata);
                    Assert.Contains(Path, Assert.Throws<InfluenceException>(() => load(Path)).Message, StringComparison.Ordinal);
                }
            }
        }
    }

    /// <summary>A file of an earlier version, without a checksum, still loads; the fit, and scores by it, say so.</summary>
    [Fact]
    public void AnUncheckedFitSaysSo()
    {
        using var c = new Classifier();
        using (var fit = Ekfac.Fit(c.Task(), c.Train))
        {
            fit.Save(Path);
        }

        Unverified.Strip(Path);
        using var loaded = Ekfac.Load(Path);
        Assert.StartsWith("unverified", loaded.Info.Integrity, StringComparison.Ordinal);
        using var scores = new InfluenceFunction(loaded).Score(c.Task(), c.Train, c.Queries);
        Assert.StartsWith("unverified", scores.Metadata.Integrity, StringComparison.Ordinal);
    }

    [Fact]
    public void AMissingFileAndAnotherEndingAreRefused()
    {
        using var c = new Classifier();
        using var fit = Ekfac.Fit(c.Task(), c.Train);

        Assert.Contains(
            "none.safetensors",
            Assert.Throws<InfluenceException>(() => Ekfac.Load(_folder.Path("none.safetensors"))).Message,
            StringComparison.Ordinal
        );
        Assert.Contains(
            "safetensors",
            Assert.Throws<InfluenceException>(() => fit.Save(_folder.Path("fit.dat"))).Message,
            StringComparison.Ordinal
        );
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
