using Influence.Recipes;
using Influence.Tests.Oracles;
using TorchSharp;
using TorchSharp.Modules;
using Xunit;
using Xunit.Abstractions;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Recipes;

/// <summary>A small decoder that learns to copy by itself: most of its texts repeat themselves, the others follow a chain of
/// tokens.</summary>
public class TrainedRetrievalHeadsTests(ITestOutputHelper output)
{
    private const int Vocabulary = 20;
    private const int Length = 21;
    private const int Width = 32;
    private const int HeadCount = 2;

    [Fact]
    public void TheHeadsThatWereLearnedAreFoundAndRepetitionNeedsThem()
    {
        using var scope = NewDisposeScope();
        torch.random.manual_seed(2);
        using var decoder = new Decoder();
        Train(decoder, steps: 1200);
        decoder.eval();

        // Fresh texts: the first forty repeat themselves.
        var documents = Examples.FromTensors(("x", cat([Repeating(40), Chained(40)], 0)));
        var task = new InfluenceTask(decoder)
        {
            TrainingLoss = b =>
                Losses.CrossEntropy(
                    decoder.call(b["x"]).narrow(1, 0, Length - 1),
                    b["x"].narrow(1, 1, Length - 1),
                    meanOverPositions: true
                ),
        };
        var method = new AttentionInfluence
        {
            Logits = decoder.call,
            Layers = [.. Enumerable.Range(0, 2).Select(i => new AttentionInfluence.Projections($"q{i}.weight", $"k{i}.weight", HeadCount))],
            Probes = new AttentionInfluence.KeyValueProbes(Enumerable.Range(1, Vocabulary - 1).Select(i => (long)i))
            {
                Count = 100,
                Pairs = 4,
                Shots = 1,
                Opening = [0],
            },
        };
        var result = method.Score(task, documents);
        var (repeating, chained) = (result.Scores.Values.Take(40).ToArray(), result.Scores.Values.Skip(40).ToArray());
        var ordered = repeating.Average(r => chained.Average(c => r > c ? 1.0 : 0));
        output.WriteLine(result.Heads.ToString());
        output.WriteLine((method with { Retrieval = RetrievalHeads.Kind.MaskedLoss }).FindHeads(task).ToString());
        output.WriteLine($"repeating {repeating.Average():0.000}, chained {chained.Average():0.000}, in order {ordered:0.000}");

        // A copying head needs a layer before it that knows each token's predecessor, so both of them sit in the second.
        Assert.All(result.Heads.Take(2), head => Assert.Equal("q1.weight", head.Head.Layer));
        Assert.True(result.Heads[0].Score > 0.5, $"{result.Heads[0]}");
        Assert.True(result.Heads[2].Score < 0.1, $"{result.Heads[2]}");
        Assert.Equal(result.Heads[0].Head, Assert.Single(result.Masked));
        Assert.True(repeating.Average() > 0.15, $"{repeating.Average()}");
        Assert.True(Math.Abs(chained.Average()) < 0.1, $"{chained.Average()}");
        Assert.True(ordered > 0.95, $"{ordered}");
    }

    private static void Train(Decoder decoder, int steps)
    {
        using var adam = optim.Adam(decoder.parameters(), 5e-3);
        for (var step = 0; step < steps; step++)
        {
            using var scope = NewDisposeScope();
            var x = cat([Repeating(24), Chained(8)], 0); // [B, T]
            adam.zero_grad();
            F.cross_entropy(decoder.call(x.narrow(1, 0, Length - 1)).reshape(-1, Vocabulary), x.narrow(1, 1, Length - 1).reshape(-1))
                .backward();
            adam.step();
        }
    }

    /// <summary>A start token, and a run of three to ten random tokens again and again: where to copy from is not a matter of
    /// places.</summary>
    private static Tensor Repeating(int count)
    {
        var tokens = randint(1, Vocabulary, [count * Length]).data<long>().ToArray();
        var periods = randint(3, 11, [count]).data<long>().ToArray();
        for (var i = 0; i < tokens.Length; i++)
        {
            var (place, period) = (i % Length, (int)periods[i / Length]);
            tokens[i] =
                place == 0 ? 0
                : place <= period ? tokens[i]
                : tokens[i - period];
        }

        return tensor(tokens).reshape(count, Length);
    }

    /// <summary>Each token is followed by 7 times it, modulo the vocabulary, three times in four; else by any.</summary>
    private static Tensor Chained(int count)
    {
        var tokens = new long[count * Length];
        var (jumps, coins) = (
            randint(1, Vocabulary, [count * Length]).data<long>().ToArray(),
            rand([count * Length]).data<float>().ToArray()
        );
        for (var i = 0; i < tokens.Length; i++)
        {
            tokens[i] =
                i % Length == 0 ? 0
                : i % Length == 1 || coins[i] < 0.25 ? jumps[i]
                : 1 + ((7 * tokens[i - 1]) % (Vocabulary - 1));
        }

        return tensor(tokens).reshape(count, Length);
    }

    private sealed class Decoder : nn.Module<Tensor, Tensor>
    {
        private readonly Embedding tokens = nn.Embedding(Vocabulary, Width);
        private readonly Embedding positions = nn.Embedding(Length, Width);
        private readonly LayerNorm[] norms = [nn.LayerNorm(Width), nn.LayerNorm(Width), nn.LayerNorm(Width)];
        private readonly Dictionary<string, Linear>[] projections =
        [
            .. Enumerable.Range(0, 2).Select(_ => new[] { "q", "k", "v", "o" }.ToDictionary(name => name, _ => nn.Linear(Width, Width))),
        ];
        private readonly Linear head = nn.Linear(Width, Vocabulary);

        public Decoder()
            : base(nameof(Decoder))
        {
            RegisterComponents();
            for (var i = 0; i < 2; i++)
            {
                foreach (var (name, linear) in projections[i])
                {
                    register_module($"{name}{i}", linear);
                }
            }

            for (var i = 0; i < norms.Length; i++)
            {
                register_module($"norm{i}", norms[i]);
            }
        }

        public override Tensor forward(Tensor input)
        {
            var x = tokens.call(input) + positions.call(arange(input.shape[1])); // [B, T, D]
            for (var i = 0; i < 2; i++)
            {
                x = x + Attention(projections[i], norms[i].call(x));
            }

            return head.call(norms[2].call(x));
        }

        private static Tensor Attention(Dictionary<string, Linear> projection, Tensor x)
        {
            var (b, t) = (x.shape[0], x.shape[1]);
            var scores = Split("q").matmul(Split("k").transpose(2, 3)) / Math.Sqrt(Width / HeadCount);
            var mixed = F.softmax(scores.masked_fill(ones([t, t], ScalarType.Bool).triu(1), float.NegativeInfinity), -1).matmul(Split("v"));
            return projection["o"].call(mixed.transpose(1, 2).reshape(b, t, Width));

            Tensor Split(string name) => projection[name].call(x).reshape(b, t, HeadCount, Width / HeadCount).transpose(1, 2);
        }
    }
}
