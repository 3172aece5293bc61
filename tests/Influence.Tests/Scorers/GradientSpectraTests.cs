using Influence.Estimators;
using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Scorers;

/// <summary>Spectra of gradients against singular value decompositions of each example's written-out gradient.</summary>
public class GradientSpectraTests
{
    /// <summary>Singular values (2, 2), (3, 1) and none, with more positions than inputs and with fewer.</summary>
    [Theory]
    [InlineData(2, 2)]
    [InlineData(5, 4)]
    public void TheWorkedExamples(int inputs, int outputs)
    {
        using var scope = NewDisposeScope();
        using var layer = nn.Linear(inputs, outputs, dtype: float64);
        using var model = new Composite(layer.call, ("layer", layer));
        var task = new InfluenceTask(model) { TrainingLoss = b => (model.call(b["x"]) * b["c"]).sum([1, 2]) };
        var x = zeros(3, 2, inputs, dtype: float64);
        var c = zeros(3, 2, outputs, dtype: float64);
        double[,] sigma =
        {
            { 2, 2 },
            { 3, 1 },
            { 0, 0 },
        };
        for (var i = 0; i < 3; i++)
        {
            for (var t = 0; t < 2; t++)
            {
                x[i, t, t] = 1;
                c[i, t, t] = sigma[i, t];
            }
        }

        var spectra = new GradientSpectra().Score(task, Examples.FromTensors(("x", x), ("c", c)));

        double[] nuclear = [4, 4, 0],
            ranks = [2, 1.754765, 0];
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(nuclear[i], spectra.NuclearNorms[i][0], 12);
            Assert.Equal(ranks[i], spectra.EffectiveRanks[i][0], 6);
        }

        Assert.Equal(["layer"], spectra.Layers);
        Assert.Equal(nuclear, spectra.MeanNuclearNorm().Values.Select(v => Math.Round(v, 12)));
        Assert.Contains("Pairs", Assert.Throws<InfluenceException>(spectra.MeanCosine).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("linear")]
    [InlineData("linear over positions")]
    [InlineData("linear over two position axes")]
    [InlineData("mlp")]
    [InlineData("layer called twice")]
    [InlineData("position table")]
    [InlineData("sequence first")]
    [InlineData("merged rows")]
    [InlineData("in-place activation")]
    [InlineData("frozen bias")]
    [InlineData("recurrent")]
    [InlineData("attention causal")]
    [InlineData("attention grouped-query rotary padded")]
    [InlineData("native attention")]
    [InlineData("native attention without biases")]
    [InlineData("native encoder layer")]
    public void EqualsTheDecompositionOfWrittenOutGradients(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var inputs = made.Inputs(5);

        var spectra = new GradientSpectra().Score(made.Task(), Examples.FromTensors(inputs));
        var others = new GradientSpectra { MemoryBudget = 1 }.Score(made.Task(), Examples.FromTensors(inputs) with { BatchSize = 2 });

        Assert.NotEmpty(spectra.Layers);
        foreach (var (l, layer) in spectra.Layers.Index())
        {
            AssertEqual(Oracle(made, inputs, layer), spectra, l);
        }

        AssertSame(spectra.NuclearNorms, others.NuclearNorms);
        AssertSame(spectra.EffectiveRanks, others.EffectiveRanks);
        AssertSame(spectra.Cosines, others.Cosines);
    }

    /// <summary>Fewer positions (6) than inputs and outputs (8 and more): no gradient is written out.</summary>
    [Fact]
    public void ADecoderAndItsProjections()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(9);
        using var model = new TinyDecoder();
        var examples = TinyDecoder.Sequences(4);

        var spectra = new GradientSpectra().Score(model.Task(), examples);

        Assert.Equal(["q", "k", "v", "o", "up", "down", "head"], spectra.Layers);
        Assert.Equal([("q", "k"), ("q", "v"), ("k", "v")], spectra.Pairs);
        Assert.Equal(3, spectra.Cosines[0].Count);
        var inputs = examples.Batches().Select(b => b.Tensors.Select(t => t.clone()).ToArray()).Single();
        Tensor Gradient(string layer) =>
            SingleExampleLoop.Gradients(model, t => Losses.CrossEntropy(model.call(t[0]), t[1], t[2]), inputs, n => n == layer + ".weight");
        foreach (var (l, layer) in spectra.Layers.Index())
        {
            AssertEqual(Gradient(layer).reshape(4, model.get_parameter(layer + ".weight")!.shape[0], -1), spectra, l);
        }

        foreach (var (p, (first, second)) in spectra.Pairs.Index())
        {
            var (a, b) = (Gradient(first), Gradient(second));
            var cosine = (a * b).sum(1) / (a.Squared().sum(1) * b.Squared().sum(1)).sqrt();
            for (var i = 0; i < 4; i++)
            {
                Assert.Equal(cosine[i].item<double>(), spectra.Cosines[i][p], 10); // rounding of float64
            }
        }

        Assert.Contains("effective rank", spectra.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void PairsByNameAndByRole()
    {
        static List<(int, int)> Found(params (string Name, long O, long I)[] layers) =>
            LayerPairs.Find([.. layers.Select((l, k) => new SpectralLayer(k, l.Name, l.O, l.I))]);

        Assert.Equal(
            [(0, 1), (0, 3), (1, 4), (2, 5), (3, 4)],
            Found(
                ("h.0.q_proj", 4, 4),
                ("h.0.k_proj", 4, 4),
                ("h.0.up", 8, 4),
                ("h.1.q_proj", 4, 4),
                ("h.1.k_proj", 4, 4),
                ("h.1.up", 8, 4)
            )
        );
        Assert.Equal(
            [(0, 1), (0, 2), (1, 2)],
            Found(("a.in_proj_weight[q]", 4, 4), ("a.in_proj_weight[k]", 4, 4), ("a.in_proj_weight[v]", 4, 4), ("a.out_proj", 4, 4))
        );
        Assert.Equal([(0, 1), (1, 3)], Found(("fc1", 4, 4), ("fc2", 4, 4), ("fc3", 2, 4), ("fc4", 4, 4)));
        Assert.Empty(Found(("wq", 4, 4), ("wk", 2, 4), ("head", 4, 4)));
        Assert.Equal([(0, 1)], Found(("b.wq", 4, 4), ("b.wk", 4, 4), ("b.query", 4, 4), ("c.wv", 4, 4)));
    }

    [Fact]
    public void PairsThatTheUserNames()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(9);
        using var model = new TinyDecoder();
        var examples = TinyDecoder.Sequences(2);

        var spectra = new GradientSpectra { Pairs = [("v", "o")] }.Score(model.Task(), examples);
        Assert.Equal([("v", "o")], spectra.Pairs);
        Assert.Equal(spectra.Cosines.Select(row => row[0]), spectra.MeanCosine().Values);

        string Refused(params (string, string)[] pairs) =>
            Assert.Throws<InfluenceException>(() => new GradientSpectra { Pairs = pairs }.Score(model.Task(), examples)).Message;
        Assert.Contains("names gate", Refused(("q", "gate")), StringComparison.Ordinal);
        Assert.Contains("up [12, 8]", Refused(("q", "up")), StringComparison.Ordinal);
    }

    [Fact]
    public void SharedWeightsAreNamedAndModelsWithoutLinearLayersRefused()
    {
        using var scope = NewDisposeScope();
        var convolution = Cases.Make("conv2d");
        var thrown = Assert.Throws<InfluenceException>(() =>
            new GradientSpectra().Score(convolution.Task(), Examples.FromTensors(convolution.Inputs(2)))
        );
        Assert.Contains("there is none", thrown.Message, StringComparison.Ordinal);

        using var table = nn.Embedding(9, 4, dtype: float64);
        using var hidden = nn.Linear(4, 4, dtype: float64);
        using var head = nn.Linear(4, 9, dtype: float64);
        head.weight = table.weight!;
        using var model = new Composite(
            x => head.call(hidden.call(table.call(x)).tanh()),
            ("table", table),
            ("hidden", hidden),
            ("head", head)
        );
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b[0]), b[1]) };
        var spectra = new GradientSpectra().Score(task, Examples.FromTensors(randint(0, 9, [3, 5]), randint(0, 9, [3, 5])));
        Assert.Equal(["hidden"], spectra.Layers);
        Assert.Contains("table.weight", spectra.Metadata.Notes, StringComparison.Ordinal);
    }

    /// <summary>The gradient of one layer's weight by the loop, <c>[N, O, I]</c>.</summary>
    private static Tensor Oracle(ModelCase made, Tensor[] inputs, string layer)
    {
        // A projection of a packed weight: its third of the rows.
        var packed = layer.IndexOf('[', StringComparison.Ordinal);
        var name =
            packed >= 0 ? layer[..packed]
            : layer is "weight" ? layer
            : layer + ".weight";
        var shape = made.Model.get_parameter(name)!.shape;
        var whole = SingleExampleLoop.Gradients(made.Model, made.Loss, inputs, n => n == name).reshape(-1, shape[0], shape[1]);
        return packed < 0
            ? whole
            : whole.narrow(1, "qkv".IndexOf(layer[packed + 1], StringComparison.Ordinal) * shape[0] / 3, shape[0] / 3);
    }

    private static void AssertEqual(Tensor gradients, GradientSpectra.Result spectra, int layer)
    {
        for (long i = 0; i < gradients.shape[0]; i++)
        {
            var (_, s, _) = linalg.svd(gradients[i]);
            var sigma = s.data<double>().ToArray();
            var (sum, entropy) = (sigma.Sum(), sigma.Where(v => v > 0).Sum(v => -v / sigma.Sum() * Math.Log(v / sigma.Sum())));

            // Rounding of float64: singular values are good to 1e-15 of the largest.
            Assert.Equal(sum, spectra.NuclearNorms[(int)i][layer], 1e-11 * (1 + sum));
            Assert.Equal(sum == 0 ? 0 : Math.Exp(entropy), spectra.EffectiveRanks[(int)i][layer], 1e-10);
        }
    }

    private static void AssertSame(IReadOnlyList<IReadOnlyList<double>> expected, IReadOnlyList<IReadOnlyList<double>> actual)
    {
        foreach (var (a, b) in expected.SelectMany(row => row).Zip(actual.SelectMany(row => row)))
        {
            Assert.Equal(a, b, 1e-10); // rounding: other batch sizes, other orders of summation
        }
    }
}
