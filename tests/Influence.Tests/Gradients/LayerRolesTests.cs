using Influence.Estimators;
using Influence.Gradients;
using Influence.Tests.Oracles;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Gradients;

/// <summary>Attention, MLPs and embeddings are found by what the layers do, whatever they are called.</summary>
public class LayerRolesTests
{
    [Fact]
    public void ADecoderWhoseLayersLieSideBySide()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(1);
        var (model, data) = (new TinyDecoder(), TinyDecoder.Sequences(6));
        AssertTaken(model.Task(), data, LayerSelection.Attention, Both("q", "k", "v", "o"));
        AssertTaken(model.Task(), data, LayerSelection.Mlp, Both("up", "down"));
        AssertTaken(model.Task(), data, LayerSelection.NotEmbeddings, Both("norm1", "norm2", "q", "k", "v", "o", "up", "down", "head"));
    }

    [Fact]
    public void Gpt2()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(2);
        var (model, data) = (new TinyGpt2(), TinyGpt2.Sequences(6));
        string[] blocks = ["transformer.h.0.", "transformer.h.1."];
        AssertTaken(
            model.Task(),
            data,
            LayerSelection.Attention,
            Both([.. blocks.SelectMany(b => new[] { b + "attn.c_attn", b + "attn.c_proj" })])
        );
        AssertTaken(model.Task(), data, LayerSelection.Mlp, Both([.. blocks.SelectMany(b => new[] { b + "mlp.c_fc", b + "mlp.c_proj" })]));

        // The head is the tokens' table, so that it goes with it; without tying it stays.
        var all = blocks
            .SelectMany(b => new[] { "ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj" }.Select(l => b + l))
            .Append("transformer.ln_f")
            .ToArray();
        AssertTaken(model.Task(), data, LayerSelection.NotEmbeddings, Both(all));
        AssertTaken(new TinyGpt2(tied: false).Task(), data, LayerSelection.NotEmbeddings, [.. Both(all), "lm_head.weight"]);
    }

    /// <summary>Grouped queries, rotated positions, padding: the projections are told from their neighbours all the same.</summary>
    [Theory]
    [InlineData("attention causal")]
    [InlineData("attention grouped-query rotary padded")]
    public void AttentionWithoutMlp(string name)
    {
        using var scope = NewDisposeScope();
        var made = Cases.Make(name);
        var data = Examples.FromTensors(made.Inputs(8));
        AssertTaken(made.Task(), data, LayerSelection.Attention, Both("q", "k", "v", "o"));
        Assert.Contains("finds no MLP", Fails(made.Task(LayerSelection.Mlp), data), StringComparison.Ordinal);
    }

    /// <summary>Norms after the sums, attention both ways with padding, a gated MLP, LoRA on two projections, and a classifier of two
    /// layers over the first token.</summary>
    [Fact]
    public void AnEncoderWithLora()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(3);
        const long D = 8;
        var tokens = nn.Embedding(9, D, dtype: float64);
        var layers = new[] { "a", "b", "c", "d", "gate", "up", "down", "pooler", "classifier", "a1", "d1" }.ToDictionary(
            n => n,
            n =>
                nn.Linear(
                    n == "down" ? 12 : D,
                    n is "gate" or "up" ? 12
                        : n == "classifier" ? 3
                        : n is "a1" or "d1" ? 2
                        : D,
                    dtype: float64
                )
        );
        var (a2, d2) = (nn.Linear(2, D, dtype: float64), nn.Linear(2, D, dtype: float64));
        var norms = new[] { nn.LayerNorm(D, dtype: float64), nn.LayerNorm(D, dtype: float64) };
        (string, nn.Module)[] parts =
        [
            ("tokens", tokens),
            .. layers.Select(l => (l.Key, (nn.Module)l.Value)),
            ("a2", a2),
            ("d2", d2),
            ("n0", norms[0]),
            ("n1", norms[1]),
        ];
        var model = new Composite(
            ids =>
            {
                var x = tokens.call(ids);
                var q = layers["a"].call(x) + (0.5 * a2.call(layers["a1"].call(x)));
                var hidden = zeros(ids.shape, x.dtype).masked_fill(ids.eq(0), -1e9).unsqueeze(1);
                var mixed = ((q.matmul(layers["b"].call(x).transpose(1, 2)) / 3) + hidden).softmax(-1).matmul(layers["c"].call(x));
                x = norms[0].call(x + layers["d"].call(mixed) + (0.5 * d2.call(layers["d1"].call(mixed))));
                x = norms[1].call(x + layers["down"].call(F.silu(layers["gate"].call(x)) * layers["up"].call(x)));
                return layers["classifier"].call(layers["pooler"].call(x.select(1, 0)).tanh());
            },
            parts
        );
        model.eval();
        foreach (var frozen in new[] { "a", "d" })
        {
            layers[frozen].weight.requires_grad = false;
        }

        var ids = randint(1, 9, [6, 5]);
        ids[.., 3..] = 0;
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var data = Examples.FromTensors(("x", ids), ("y", randint(0, 3, [6])));

        AssertTaken(task, data, LayerSelection.Attention, [.. Both("a1", "a2", "b", "c", "d1", "d2"), "a.bias", "d.bias"]);
        AssertTaken(task, data, LayerSelection.Mlp, Both("gate", "up", "down"));
    }

    [Fact]
    public void NativeLayers()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(4);
        var (input, head) = (nn.Linear(5, 8), nn.Linear(8, 2));
        var encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, dropout: 0), 2);
        var attention = nn.MultiheadAttention(8, 2);
        var model = new Composite(
            x =>
            {
                var y = encoder.call(input.call(x).transpose(0, 1), null!, null!);
                return head.call((y + attention.call(y, y, y, null, false, null).Item1).mean([0]));
            },
            ("input", input),
            ("encoder", encoder),
            ("attention", attention),
            ("head", head)
        );
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => Losses.CrossEntropy(model.call(b["x"]), b["y"]) };
        var data = Examples.FromTensors(("x", randn(6, 4, 5)), ("y", randint(0, 2, [6])));

        AssertTaken(
            task,
            data,
            LayerSelection.Attention,
            [
                .. model
                    .named_parameters()
                    .Select(p => p.name)
                    .Where(n => n.Contains("self_attn", StringComparison.Ordinal) || n.StartsWith("attention.", StringComparison.Ordinal)),
            ]
        );
        AssertTaken(
            task,
            data,
            LayerSelection.Mlp,
            [.. model.named_parameters().Select(p => p.name).Where(n => n.Contains(".linear", StringComparison.Ordinal))]
        );
    }

    /// <summary>Positions that a recurrence, a convolution or a mean mixes are no attention; and without attention the last layer is one of
    /// the MLP.</summary>
    [Theory]
    [InlineData("mlp")]
    [InlineData("recurrence")]
    [InlineData("convolution")]
    [InlineData("mean")]
    public void NoAttention(string what)
    {
        using var scope = NewDisposeScope();
        random.manual_seed(5);
        var (first, second, lstm, conv) = (
            nn.Linear(4, 6),
            nn.Linear(6, 2),
            nn.LSTM(6, 6, batchFirst: true),
            nn.Conv1d(6, 6, 3, padding: 1)
        );
        var model = new Composite(
            x =>
                what switch
                {
                    "mlp" => second.call(first.call(x).relu()),
                    "recurrence" => second.call(lstm.call(first.call(x)).Item1),
                    "convolution" => second.call(conv.call(first.call(x).transpose(1, 2)).transpose(1, 2)),
                    _ => second.call(first.call(x).tanh().mean([1])),
                },
            ("first", first),
            ("second", second),
            ("lstm", lstm),
            ("conv", conv)
        );
        model.eval();
        var task = new InfluenceTask(model) { TrainingLoss = b => model.call(b["x"]).Squared().flatten(1).sum(1) };
        var data = Examples.FromTensors(("x", randn(6, 5, 4)));

        var message = Fails(task with { Layers = LayerSelection.Attention }, data);
        Assert.Contains("finds no attention", message, StringComparison.Ordinal);
        Assert.Contains("LayerSelection.Where", message, StringComparison.Ordinal);
        if (what is "mlp" or "mean")
        {
            AssertTaken(task, data, LayerSelection.Mlp, Both("first", "second"));
        }
        else
        {
            Assert.Contains("finds no MLP", Fails(task with { Layers = LayerSelection.Mlp }, data), StringComparison.Ordinal);
        }
    }

    /// <summary>Scores by role are those by the names that it finds, and a role may be taken by single examples.</summary>
    [Fact]
    public void ScoresAreThoseOfTheNames()
    {
        using var scope = NewDisposeScope();
        random.manual_seed(6);
        var (model, data) = (new TinyGpt2(), TinyGpt2.Sequences(7));
        bool IsAttention(string name) => name.Contains(".attn.", StringComparison.Ordinal);
        using var byRole = new TracIn().Score(model.Task(LayerSelection.Attention), data, data);
        using var byName = new TracIn().Score(model.Task(LayerSelection.Where(IsAttention)), data, data);
        using var single = new TracIn().Score(
            model.Task(LayerSelection.Attention) with
            {
                SingleExamples = LayerSelection.Attention,
            },
            data,
            data
        );

        Assert.Equal(byName.Values.data<double>().ToArray(), byRole.Values.data<double>().ToArray());
        Assert.Equal("attention", byRole.Metadata.Layers);
        Assert.True(SingleExampleLoop.RelativeError(single.Values, byName.Values) < 1e-10);
        Assert.All(
            (model.Task(LayerSelection.Attention) with { SingleExamples = LayerSelection.Attention })
                .Coverage(data)
                .Parameters.Where(p => IsAttention(p.Name)),
            p => Assert.Equal("single examples", p.Method)
        );
    }

    [Fact]
    public void ActivationsAreChosenByName()
    {
        using var scope = NewDisposeScope();
        var (model, data) = (new TinyDecoder(), TinyDecoder.Sequences(4));
        var thrown = Assert.Throws<InfluenceException>(() =>
            new ActivationSimilarity().Score(model.Task(LayerSelection.Attention), data, data)
        );
        Assert.Contains("LayerSelection.Where", thrown.Message, StringComparison.Ordinal);
    }

    private static string[] Both(params string[] layers) => [.. layers.SelectMany(l => new[] { l + ".weight", l + ".bias" })];

    private static string Fails(InfluenceTask task, Examples data) => Assert.Throws<InfluenceException>(() => task.Coverage(data)).Message;

    private static void AssertTaken(InfluenceTask task, Examples data, LayerSelection layers, string[] expected)
    {
        var coverage = (task with { Layers = layers }).Coverage(data);
        var taken = coverage.Parameters.Where(p => p.Method != "left out").ToList();
        var there = task.Model.named_parameters().Where(p => p.parameter.requires_grad).Select(p => p.name).ToHashSet();
        Assert.Equal(expected.Where(there.Contains).Order(StringComparer.Ordinal), taken.Select(p => p.Name).Order(StringComparer.Ordinal));
        Assert.DoesNotContain(taken, p => p.Method == "single examples");
    }
}
