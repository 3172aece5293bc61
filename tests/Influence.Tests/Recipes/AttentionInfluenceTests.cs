using Influence.Recipes;
using Influence.Scorers;
using Influence.Tests.Oracles;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Recipes;

/// <summary>Retrieval heads on a copy task, and what documents lose without them.</summary>
public class AttentionInfluenceTests
{
    /// <summary>The hand-made copying head is found by both measures, in both kinds of attention; no other head copies.</summary>
    [Theory]
    [InlineData(false, RetrievalHeads.Kind.Attention)]
    [InlineData(true, RetrievalHeads.Kind.Attention)]
    [InlineData(false, RetrievalHeads.Kind.MaskedLoss)]
    [InlineData(true, RetrievalHeads.Kind.MaskedLoss)]
    public void TheCopyingHeadIsFound(bool native, RetrievalHeads.Kind measure)
    {
        using var decoder = new InductionDecoder(native);
        var heads = decoder.Method(measure, native).FindHeads(decoder.Task);
        Assert.Equal(4, heads.Count);
        RetrievalHeads.Head predecessor = new(native ? "attention0" : "q0.weight", 0),
            copying = new(native ? "attention1" : "q1.weight", 1);
        if (measure == RetrievalHeads.Kind.Attention)
        {
            Assert.Equal(copying, heads[0].Head);
            Assert.Equal(1, heads[0].Score);
            Assert.All(heads.Skip(1), head => Assert.Equal(0, head.Score));
        }
        else
        {
            // Without either head of the circuit nothing is copied; the two inert heads change nothing.
            Assert.True(heads[1].Score > 1);
            Assert.Equal([predecessor, copying], heads.Take(2).Select(h => h.Head).OrderBy(h => h.Layer));
            Assert.All(heads.Skip(2), head => Assert.Equal(0, head.Score, 1e-9));
        }

        Assert.Equal([heads[0].Head], heads.Top(0.05));
        Assert.Equal(2, heads.Top(0.5).Count);
    }

    /// <summary>Rows made uniform by hand give the same losses, for every head alone and for several.</summary>
    [Theory]
    [InlineData(false, 2)]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    public void MaskedRowsAreUniformOverVisiblePositions(bool native, int keyHeads)
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(12);
        using var byHand = new InductionDecoder(keyHeads: keyHeads, random: true);
        torch.random.manual_seed(12);
        using var decoder = new InductionDecoder(native, keyHeads, random: true);
        var documents = Documents();
        var method = decoder.Method(native: native);
        string Layer(int layer) => native ? $"attention{layer}" : $"q{layer}.weight";
        foreach (var heads in new (int Layer, int Head)[][] { [(0, 0)], [(0, 1)], [(1, 0)], [(1, 1)], [(0, 1), (1, 0), (1, 1)] })
        {
            var scores = method.ScoreMasked(
                decoder.Task,
                documents,
                [.. heads.Select(h => new RetrievalHeads.Head(Layer(h.Layer), h.Head))]
            );
            byHand.Uniform.Clear();
            var before = new ExampleLosses().Score(byHand.Task, documents);
            byHand.Uniform.UnionWith(heads);
            var after = new ExampleLosses().Score(byHand.Task, documents);
            for (var i = 0; i < scores.Count; i++)
            {
                // Losses of order three in float64, added up in another order.
                Assert.Equal((after[i] - before[i]) / before[i], scores[i], 1e-12);
                Assert.True(Math.Abs(scores[i]) > 1e-6);
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void WithoutMaskedHeadsEveryScoreIsZero(bool native)
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder(native, random: true);
        Assert.All(decoder.Method(native: native).ScoreMasked(decoder.Task, Documents(), []).Values, score => Assert.Equal(0, score));
    }

    /// <summary>The loss's scale and its reduction over positions drop out.</summary>
    [Fact]
    public void TheScoreIsRelative()
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder(random: true);
        RetrievalHeads.Head[] heads = [new("q1.weight", 0)];
        var mean = decoder.Method().ScoreMasked(decoder.Task, Documents(), heads);
        var sum = decoder
            .Method()
            .ScoreMasked(
                new InfluenceTask(decoder.Model) { TrainingLoss = b => decoder.Task.TrainingLoss(b) * 17 },
                Documents() with
                {
                    BatchSize = 3,
                },
                heads
            );
        Assert.All(mean.Values.Zip(sum.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
    }

    /// <summary>Half of the documents repeat their first half; only there does the copying head help.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void DocumentsThatRepeatThemselvesScoreHighest(bool native)
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder(native);
        var documents = Documents();
        var groups = ExampleGroups.Of(documents.Ids, id => id < 4 ? "a" : "b");
        var result = decoder.Method(native: native).Score(decoder.Task, documents, groups);

        Assert.Equal(1, Assert.Single(result.Masked).Index);
        Assert.All(
            documents.Ids,
            id => Assert.True(id % 2 == 0 ? result.Scores[(int)id] > 0.5 : result.Scores[(int)id] < 0.1, $"{id}: {result.Scores[(int)id]}")
        );

        // Within groups of four and eight: the places of the repeating ones are the upper halves. All tokens are different and
        // treated alike, so documents of a kind differ by rounding at most.
        Assert.All(documents.Ids, id => Assert.Equal(id % 2 == 0, result.WithinGroups[(int)id] > 0.5));
        Assert.Equal(2, result.WithinGroups.Values.Take(4).Sum());
        Assert.Equal(4, result.WithinGroups.Values.Skip(4).Sum());
        Assert.Contains("1 of 4 heads masked", result.ToString(), StringComparison.Ordinal);
        Assert.Contains("share of copied tokens", result.Heads.ToString(), StringComparison.Ordinal);
    }

    /// <summary>A document whose tokens do not count has loss zero, with and without the heads.</summary>
    [Fact]
    public void ALossOfZeroIsNotDividedBy()
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder(random: true);
        var task = new InfluenceTask(decoder.Model)
        {
            TrainingLoss = b => decoder.Task.TrainingLoss(b) * tensor(b.Ids.Select(id => id == 2 ? 0.0 : 1).ToArray()),
        };
        var scores = decoder.Method().ScoreMasked(task, Documents(), [new("q0.weight", 0)]);
        Assert.Equal(0, scores[2]);
        Assert.Contains("ids 2", scores.Metadata.Notes, StringComparison.Ordinal);
        Assert.Contains(
            "not negative",
            Fails(() =>
                decoder
                    .Method()
                    .ScoreMasked(new InfluenceTask(decoder.Model) { TrainingLoss = b => -decoder.Task.TrainingLoss(b) }, Documents(), [])
            ),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TheModelIsAsBeforeAlsoAfterAFailureOrACancellation(bool native)
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder(native);
        var documents = Documents() with { BatchSize = 4 };
        var probe = InductionDecoder.Probes.Tokens();
        var state = ModelState.Of(decoder.Model, probe);
        foreach (var measure in Enum.GetValues<RetrievalHeads.Kind>())
        {
            var method = decoder.Method(measure, native);
            method.Score(decoder.Task, documents);
            var before = LiveTensors.OnThisThread;
            method.Score(decoder.Task, documents);
            Assert.Equal(before, LiveTensors.OnThisThread);
            state.AssertUnchanged(decoder.Model, probe);

            // In the first part of the probes, and in the second batch of documents: three parts a pass over the probes, one or five passes
            // to find the heads and two to put them to the proof.
            foreach (var stop in new[] { 1, measure == RetrievalHeads.Kind.Attention ? 11 : 23 })
            {
                using var source = new CancellationTokenSource();
                var reports = 0;
                var progress = new Reports(_ =>
                {
                    if (++reports == stop)
                    {
                        source.Cancel();
                    }
                });
                Assert.Throws<OperationCanceledException>(() => method.Score(decoder.Task, documents, null, progress, source.Token));
                state.AssertUnchanged(decoder.Model, probe);
            }

            var calls = 0;
            var fails = method with
            {
                Logits = tokens => ++calls == 2 ? throw new InvalidOperationException("no") : decoder.Model.call(tokens),
            };
            Assert.Contains("Logits failed", Fails(() => fails.FindHeads(decoder.Task)), StringComparison.Ordinal);
            calls = 0;
            var task = new InfluenceTask(decoder.Model)
            {
                TrainingLoss = b => ++calls == 2 ? throw new InvalidOperationException("no") : decoder.Task.TrainingLoss(b),
            };
            Assert.Throws<InfluenceException>(() => method.Score(task, documents));
            Assert.Equal(before, LiveTensors.OnThisThread);
            state.AssertUnchanged(decoder.Model, probe);
        }
    }

    /// <summary>Rotary positions: both heads of the circuit by the loss without them.</summary>
    [Fact]
    public void WithRotaryPositionsTheMaskedLossFindsTheHeads()
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder(variant: InductionVariant.Rotary);
        var method = decoder.Method(RetrievalHeads.Kind.MaskedLoss);
        var heads = method.FindHeads(decoder.Task);
        Assert.True(heads[1].Score > 1, $"{heads[1]}");
        Assert.Equal(["q0.weight, head 0", "q1.weight, head 1"], heads.Take(2).Select(h => h.Head.ToString()).Order());
        Assert.All(heads.Skip(2), head => Assert.Equal(0, head.Score, 1e-9));
        Assert.Contains(
            "the loss on copied tokens rises from",
            method.Score(decoder.Task, Documents()).Scores.Metadata.Notes,
            StringComparison.Ordinal
        );

        // Which of the two is the strongest is a matter of chance; without the predecessors the copying head copies anything, in every
        // document.
        var scores = method.ScoreMasked(decoder.Task, Documents(), [new("q1.weight", 1)]);
        Assert.All(scores.Ids, id => Assert.True(id % 2 == 0 ? scores[(int)id] > 0.5 : scores[(int)id] < 0.1, $"{id}: {scores[(int)id]}"));
    }

    /// <summary>
    /// Where hooks do not see what the attention sees, heads that add nothing point to copied tokens by chance and the others never:
    /// refused as no better than chance, and else as the copying does not suffer without them.
    /// </summary>
    [Fact]
    public void HeadsThatOnlySeemToCopyAreRefused()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(3);
        using var decoder = new InductionDecoder(variant: InductionVariant.Shifted);
        var method = decoder.Method();
        var heads = method.FindHeads(decoder.Task);
        Assert.True(heads[0].Score is > 0 and < 0.15, $"{heads[0]}");
        Assert.Contains("None of the 4 heads copies", Fails(() => method.Score(decoder.Task, Documents())), StringComparison.Ordinal);
        Assert.Contains(
            "heads that seem to copy do not",
            Fails(() => (method with { TimesChance = 0 }).Score(decoder.Task, Documents())),
            StringComparison.Ordinal
        );
        var result = decoder.Method(RetrievalHeads.Kind.MaskedLoss).Score(decoder.Task, Documents());
        Assert.Contains(Assert.Single(result.Masked).ToString(), new[] { "q0.weight, head 0", "q1.weight, head 1" });
    }

    /// <summary>With every head in the share, those that do not copy are left alone.</summary>
    [Fact]
    public void HeadsThatDoNotCopyAreNotMasked()
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder();
        Assert.Equal(1, Assert.Single((decoder.Method() with { MaskedShare = 1 }).Score(decoder.Task, Documents()).Masked).Index);
    }

    [Fact]
    public void ProjectionsThatAreSequenceFirst()
    {
        using var scope = NewDisposeScope();
        using var plain = new InductionDecoder();
        using var decoder = new InductionDecoder(variant: InductionVariant.SequenceFirst);
        var (expected, found) = (plain.Method().Score(plain.Task, Documents()), decoder.Method().Score(decoder.Task, Documents()));
        Assert.Equal(expected.Heads, found.Heads);
        // sums in another order
        Assert.All(expected.Scores.Values.Zip(found.Scores.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
    }

    /// <summary>A head of a native encoder is masked as if its rows of the query projection were zero.</summary>
    [Fact]
    public void HeadsOfANativeEncoder()
    {
        using var scope = NewDisposeScope();
        var (model, encoder) = EncoderModel();
        var task = Task(model, heads: 2);
        var documents = Documents();
        var method = new AttentionInfluence { Logits = model.call, Probes = InductionDecoder.Probes };
        var heads = method.FindHeads(task);
        Assert.Equal(4, heads.Count);
        var before = new ExampleLosses().Score(task, documents);
        foreach (var (head, _) in heads)
        {
            var scores = method.ScoreMasked(task, documents, [head]);
            var (layer, rows) = (head.Layer["encoder.".Length..], head.Index * 4);
            Tensor[] parts =
            [
                encoder.get_parameter($"{layer}.in_proj_weight")!.detach().narrow(0, rows, 4),
                encoder.get_parameter($"{layer}.in_proj_bias")!.detach().narrow(0, rows, 4),
            ];
            Tensor[] kept = [.. parts.Select(p => p.clone())];
            foreach (var part in parts)
            {
                part.zero_();
            }

            var after = new ExampleLosses().Score(task, documents);
            foreach (var (part, own) in parts.Zip(kept))
            {
                part.copy_(own);
            }

            for (var i = 0; i < scores.Count; i++)
            {
                Assert.Equal((after[i] - before[i]) / before[i], scores[i], 1e-11); // losses of order three in float64
                Assert.True(Math.Abs(scores[i]) > 1e-7);
            }
        }
    }

    /// <summary>Attention that is not recomputed is named: in the notes, or where nothing else is there.</summary>
    [Fact]
    public void AttentionThatCannotBeSeenIsNamed()
    {
        using var scope = NewDisposeScope();
        var (embedding, head) = (nn.Embedding(InductionDecoder.Vocabulary, 8), nn.Linear(8, InductionDecoder.Vocabulary));
        var (seen, unseen) = (nn.MultiheadAttention(8, 2), nn.MultiheadAttention(8, 2, add_bias_kv: true));
        var alone = new Composite(
            t => head.call(Run(unseen, embedding.call(t))),
            ("embedding", embedding),
            ("unseen", unseen),
            ("head", head)
        );
        var both = new Composite(
            t => head.call(Run(unseen, Run(seen, embedding.call(t)))),
            ("embedding", embedding),
            ("seen", seen),
            ("unseen", unseen),
            ("head", head)
        );
        alone.eval();
        both.eval();
        AttentionInfluence Method(Composite model) => new() { Logits = model.call, Probes = InductionDecoder.Probes };
        var message = Fails(() => Method(alone).FindHeads(Task(alone)));
        Assert.Contains("nothing can be masked: unseen (native attention with biases", message, StringComparison.Ordinal);
        var notes = Method(both).ScoreMasked(Task(both, heads: 2), Documents(), [new("seen", 1)]).Metadata.Notes;
        Assert.Contains("could not be looked at: unseen (native attention with biases", notes, StringComparison.Ordinal);
        static Tensor Run(MultiheadAttention attention, Tensor x)
        {
            var first = x.transpose(0, 1);
            return attention.call(first, first, first).Item1.transpose(0, 1);
        }
    }

    /// <summary>Only forward passes: half precision will do.</summary>
    [Fact]
    public void AModelInHalfPrecisionIsScoredToo()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(4);
        var embedding = nn.Embedding(InductionDecoder.Vocabulary, 8);
        var (q, k, head) = (nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, InductionDecoder.Vocabulary));
        var model = new Composite(
            t =>
            {
                var x = embedding.call(t); // [B, T, D]
                return head.call(q.call(x).matmul(k.call(x).transpose(1, 2)).softmax(-1).matmul(x) * 2);
            },
            ("embedding", embedding),
            ("q", q),
            ("k", k),
            ("head", head)
        );
        model.eval();
        var method = new AttentionInfluence
        {
            Logits = model.call,
            Probes = InductionDecoder.Probes,
            Layers = [new("q", "k", 1)],
            Causal = false,
        };
        RetrievalHeads.Head[] heads = [new("q", 0)];
        var expected = method.ScoreMasked(Task(model), Documents(), heads);
        model.to(bfloat16);
        foreach (var measure in Enum.GetValues<RetrievalHeads.Kind>())
        {
            Assert.Single((method with { Retrieval = measure }).FindHeads(Task(model)));
        }

        // Eight bits: logits of order one with errors of some thousandths, losses of order three.
        var found = method.ScoreMasked(Task(model), Documents(), heads);
        Assert.All(expected.Values.Zip(found.Values), pair => Assert.Equal(pair.First, pair.Second, 0.01));
        Assert.Contains(expected.Values, score => Math.Abs(score) > 0.03);
    }

    [Fact]
    public void AFrozenModelIsScoredToo()
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder(native: true);
        var expected = decoder.Method(native: true).Score(decoder.Task, Documents());
        foreach (var parameter in decoder.Model.parameters())
        {
            parameter.requires_grad = false;
        }

        Assert.Equal(expected.Scores.Values, decoder.Method(native: true).Score(decoder.Task, Documents()).Scores.Values);
    }

    [Fact]
    public void BadInputIsNamed()
    {
        using var scope = NewDisposeScope();
        using var decoder = new InductionDecoder();
        using var random = new InductionDecoder(random: true);
        var (method, documents) = (decoder.Method(), Documents());
        Assert.Contains(
            "no projections were named",
            Fails(() => (method with { Layers = [] }).FindHeads(decoder.Task)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "q9",
            Fails(() => (method with { Layers = [new("q9.weight", "k0.weight", 2)] }).FindHeads(decoder.Task)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "7 key heads",
            Fails(() => (method with { Layers = [new("q0.weight", "k0.weight", 7)] }).FindHeads(decoder.Task)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "2 heads, 0 to 1; found 5",
            Fails(() => method.ScoreMasked(decoder.Task, documents, [new("q0.weight", 5)])),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "no attention layer elsewhere",
            Fails(() => method.ScoreMasked(decoder.Task, documents, [new("elsewhere", 0)])),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "[B, T, V]",
            Fails(() =>
                (method with { Retrieval = RetrievalHeads.Kind.MaskedLoss, Logits = t => decoder.Model.call(t).sum(2) }).FindHeads(
                    decoder.Task
                )
            ),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "in none: ids 5",
            Fails(() => method.Score(decoder.Task, documents, ExampleGroups.Of([.. documents.Ids.Where(id => id != 5)], _ => "a"))),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "in several: ids 3",
            Fails(() => method.Score(decoder.Task, documents, ExampleGroups.FromMembers(("a", documents.Ids), ("b", [3])))),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "were not both called",
            Fails(() => (method with { Logits = t => t.unsqueeze(2) }).FindHeads(decoder.Task)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "found twice: q0",
            Fails(() => (method with { Layers = [new("q0.weight", "k0.weight", 2), new("q0", "k1", 2)] }).FindHeads(decoder.Task)),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "does not copy",
            Fails(() => (random.Method() with { TimesChance = 0, MaskedShare = 1 }).Score(random.Task, documents)),
            StringComparison.Ordinal
        );
        Assert.Throws<InfluenceException>(() => new AttentionInfluence.Projections("q", "k", 0));
        Assert.Throws<InfluenceException>(() => method with { TimesChance = double.NaN });
        Assert.Throws<InfluenceException>(() => method with { LeastCopyRise = -1 });
        Assert.Throws<InfluenceException>(() => method with { MaskedShare = 0 });
        Assert.Throws<InfluenceException>(() => method with { LeastLoss = 0 });

        // Weights at zero: no head points anywhere in particular, and none matters.
        using (no_grad())
        {
            foreach (var parameter in random.Model.parameters())
            {
                parameter.zero_();
            }
        }

        Assert.Contains(
            "None of the 4 heads copies",
            Fails(() => random.Method(RetrievalHeads.Kind.MaskedLoss).Score(random.Task, documents)),
            StringComparison.Ordinal
        );
    }

    private static (Composite Model, TransformerEncoder Encoder) EncoderModel()
    {
        torch.random.manual_seed(5);
        using var layer = nn.TransformerEncoderLayer(8, 2, 16);
        var encoder = nn.TransformerEncoder(layer, 2).to(float64);
        var (embedding, head) = (
            nn.Embedding(InductionDecoder.Vocabulary, 8, dtype: float64),
            nn.Linear(8, InductionDecoder.Vocabulary, dtype: float64)
        );
        using (no_grad())
        {
            foreach (var parameter in encoder.parameters())
            {
                parameter.add_(randn_like(parameter).mul_(0.5));
            }
        }

        var model = new Composite(
            t =>
            {
                var causal = zeros([t.shape[1], t.shape[1]], ScalarType.Float64)
                    .masked_fill(ones([t.shape[1], t.shape[1]], ScalarType.Bool).triu(1), double.NegativeInfinity);
                return head.call(encoder.call(embedding.call(t).transpose(0, 1), causal).transpose(0, 1));
            },
            ("embedding", embedding),
            ("encoder", encoder),
            ("head", head)
        );
        model.eval();
        return (model, encoder);
    }

    private static InfluenceTask Task(Composite model, int? heads = null) =>
        new(model)
        {
            TrainingLoss = b =>
                Losses.CrossEntropy(
                    model.call(b["x"]).narrow(1, 0, InductionDecoder.Length - 1).to_type(ScalarType.Float64),
                    b["x"].narrow(1, 1, InductionDecoder.Length - 1),
                    meanOverPositions: true
                ),
            Attention = new InfluenceTask.Options { Heads = heads },
        };

    private static string Fails(Action action) => Assert.Throws<InfluenceException>(action).Message;

    /// <summary>Twelve documents of different tokens; those of even ids repeat their first half.</summary>
    private static Examples Documents()
    {
        torch.random.manual_seed(8);
        var rows = Enumerable
            .Range(0, 12)
            .Select(i =>
            {
                var (start, order) = (tensor(new[] { (long)InductionDecoder.Start }), randperm(InductionDecoder.Start));
                return i % 2 == 0 ? cat([start, order.narrow(0, 0, 9), order.narrow(0, 0, 9)], 0) : cat([start, order.narrow(0, 0, 18)], 0);
            })
            .ToArray();
        return Examples.FromTensors(("x", stack(rows, 0).to_type(ScalarType.Int64)));
    }
}
