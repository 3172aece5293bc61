using Influence.Recipes;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Tests.Oracles;

/// <summary>
/// Two layers of causal attention in float64 whose weights are set by hand so that the second head of the second layer copies: the
/// first head of the first layer writes each token's predecessor beside it, and the copying head looks for the place that followed the
/// present token before. Everything else is inert. With native attention, or with separate projections whose attention is written
/// out here, so that rows can be made uniform by hand.
/// </summary>
internal sealed class InductionDecoder : IDisposable
{
    public const int Vocabulary = 25;
    public const int Length = 19;
    public const int Start = Vocabulary - 1;
    private const int Heads = 2;
    private const int Width = (3 * Vocabulary) + Length;
    private const int Size = Width / Heads;
    private const int Previous = Vocabulary + Length;
    private const int Output = Previous + Vocabulary;
    private const double Turn = 2 * Math.PI / Length;
    private readonly Dictionary<string, Linear>[] _linears = new Dictionary<string, Linear>[2];
    private readonly MultiheadAttention[] _natives = [];
    private readonly int _keyHeads;
    private readonly bool _random;
    private readonly InductionVariant _variant;

    /// <summary>Makes the model.</summary>
    /// <param name="native">Native attention instead of separate projections.</param>
    /// <param name="keyHeads">Key and value heads; 1 is grouped-query attention.</param>
    /// <param name="random">Random weights instead of those that copy.</param>
    /// <param name="variant">What the separate projections' attention does beside.</param>
    public InductionDecoder(bool native = false, int keyHeads = Heads, bool random = false, InductionVariant variant = default)
    {
        (_keyHeads, _random, _variant) = (keyHeads, random, variant);
        var parts = new List<(string, nn.Module)>();
        for (var layer = 0; layer < 2; layer++)
        {
            _linears[layer] = new[] { "q", "k", "v", "o" }.ToDictionary(
                name => name,
                name => nn.Linear(Width, name is "k" or "v" ? keyHeads * Size : Width, dtype: float64)
            );
            if (random)
            {
                Sharpen(layer);
            }
            else
            {
                Set(layer);
            }

            if (!native)
            {
                parts.AddRange(_linears[layer].Select(l => ($"{l.Key}{layer}", (nn.Module)l.Value)));
            }
        }

        if (native)
        {
            _natives = [.. Enumerable.Range(0, 2).Select(Native)];
            parts.AddRange(_natives.Select((module, layer) => ($"attention{layer}", (nn.Module)module)));
        }

        Model = new Composite(Forward, [.. parts]);
        Model.eval();
    }

    public Composite Model { get; }

    /// <summary>Which rows the written-out attention makes uniform.</summary>
    public HashSet<(int Layer, int Head)> Uniform { get; } = [];

    public static AttentionInfluence.Projections[] Projections(int keyHeads = Heads) =>
        [.. Enumerable.Range(0, 2).Select(layer => new AttentionInfluence.Projections($"q{layer}.weight", $"k{layer}.weight", keyHeads))];

    /// <summary>
    /// The key-value task that the model can do: keys of one token, no separators, and a token before all, as the first position sees
    /// itself for its predecessor.
    /// </summary>
    public static AttentionInfluence.KeyValueProbes Probes { get; } =
        new(Enumerable.Range(0, Start).Select(i => (long)i))
        {
            Count = 40,
            Pairs = 4,
            Shots = 1,
            Opening = [Start],
        };

    public InfluenceTask Task =>
        new(Model)
        {
            TrainingLoss = b =>
                Losses.CrossEntropy(Model.call(b["x"]).narrow(1, 0, Length - 1), b["x"].narrow(1, 1, Length - 1), meanOverPositions: true),

            // One head of twice the size would give the same as two of which one is inert.
            Attention = new InfluenceTask.Options { Heads = Heads },
        };

    public AttentionInfluence Method(RetrievalHeads.Kind measure = RetrievalHeads.Kind.Attention, bool native = false) =>
        new()
        {
            Logits = Model.call,
            Probes = Probes,
            Layers = native ? [] : Projections(_keyHeads),
            Retrieval = measure,
        };

    public void Dispose()
    {
        Model.Dispose();
        foreach (var module in _linears.SelectMany(l => l.Values).Concat<nn.Module>(_natives))
        {
            module.Dispose();
        }
    }

    private Tensor Forward(Tensor tokens)
    {
        var length = (int)tokens.shape[1];
        var x = cat(
            [
                F.one_hot(tokens, Vocabulary).to_type(ScalarType.Float64),
                eye(Length, dtype: ScalarType.Float64).narrow(0, 0, length).unsqueeze(0).expand(tokens.shape[0], length, Length),
                zeros([tokens.shape[0], length, 2 * Vocabulary], ScalarType.Float64),
            ],
            2
        ); // [B, T, D]
        var causal = zeros([length, length], ScalarType.Float64)
            .masked_fill(ones([length, length], ScalarType.Bool).triu(1), double.NegativeInfinity);
        for (var layer = 0; layer < 2; layer++)
        {
            if (_natives.Length > 0)
            {
                var first = x.transpose(0, 1);
                x = x + _natives[layer].call(first, first, first, attn_mask: causal).Item1.transpose(0, 1);
            }
            else
            {
                x = x + Attention(layer, x, causal);
            }
        }

        return x.narrow(2, Output, Vocabulary) * (_random ? 3 : 10);
    }

    private Tensor Attention(int layer, Tensor x, Tensor causal)
    {
        var (b, t) = (x.shape[0], x.shape[1]);
        var logits = Moved(Split("q")).matmul(Turned(Shared("k")).transpose(2, 3)) / Math.Sqrt(Size);
        var weights = F.softmax(logits + causal, -1); // [B, H, T, T]
        foreach (var (_, head) in Uniform.Where(u => u.Layer == layer))
        {
            var visible = causal.eq(0).to_type(ScalarType.Float64);
            weights[.., head] = visible / visible.sum(1, keepdim: true);
        }

        return _linears[layer]["o"].call(weights.matmul(Shared("v")).transpose(1, 2).reshape(b, t, Width));

        Tensor Split(string name) => Projected(name).reshape(b, t, -1, Size).transpose(1, 2);

        Tensor Projected(string name) =>
            _variant == InductionVariant.SequenceFirst
                ? _linears[layer][name].call(x.transpose(0, 1)).transpose(0, 1)
                : _linears[layer][name].call(x);

        Tensor Moved(Tensor queries) =>
            _variant == InductionVariant.Shifted
                ? cat([queries.narrow(3, Size - 1, 1), queries.narrow(3, 0, Size - 1)], 3)
                : Turned(queries);

        Tensor Shared(string name) => _keyHeads == Heads ? Split(name) : Split(name).repeat_interleave(Heads / _keyHeads, 1);
    }

    /// <summary>Rotary positions: the last two numbers of each head turn by the position.</summary>
    private Tensor Turned(Tensor x)
    {
        if (_variant != InductionVariant.Rotary)
        {
            return x;
        }

        // [T]
        var angles = arange(x.shape[2], ScalarType.Int64).to_type(ScalarType.Float64) * Turn;
        var (a, c) = (x.select(3, Size - 2), x.select(3, Size - 1)); // [B, H, T]
        return cat(
            [
                x.narrow(3, 0, Size - 2),
                ((a * angles.cos()) - (c * angles.sin())).unsqueeze(3),
                ((a * angles.sin()) + (c * angles.cos())).unsqueeze(3),
            ],
            3
        );
    }

    /// <summary>Initial weights give attention that is nearly uniform: these do not.</summary>
    private void Sharpen(int layer)
    {
        using var noGrad = no_grad();
        _linears[layer]["q"].weight.mul_(8);
        _linears[layer]["k"].weight.mul_(8);
    }

    /// <summary>The hand-made weights of a layer: the first head of the first, the second head of the second.</summary>
    private void Set(int layer)
    {
        using var noGrad = no_grad();
        foreach (var parameter in _linears[layer].Values.SelectMany(l => l.parameters()))
        {
            parameter.zero_();
        }

        var (q, k, v, o) = (
            _linears[layer]["q"].weight,
            _linears[layer]["k"].weight,
            _linears[layer]["v"].weight,
            _linears[layer]["o"].weight
        );
        const double Sharp = 300;
        if (layer == 0 && _variant == InductionVariant.Rotary)
        {
            // Highest where the key's turn is one position behind, whatever the tokens; cos(turn) is 0.95, so the next best is far below.
            var (qBias, kBias) = (_linears[layer]["q"].bias!, _linears[layer]["k"].bias!);
            qBias[Size - 2] = 4000;
            (kBias[Size - 2], kBias[Size - 1]) = (Math.Cos(Turn), Math.Sin(Turn));
        }
        else if (layer == 0)
        {
            for (var p = 1; p < Length; p++)
            {
                q[p, Vocabulary + p] = Sharp;
                k[p, Vocabulary + p - 1] = 1;
            }
        }
        else
        {
            q[Size..(Size + Vocabulary), ..Vocabulary] = eye(Vocabulary, dtype: ScalarType.Float64) * Sharp;
            k[Size..(Size + Vocabulary), Previous..(Previous + Vocabulary)] = eye(Vocabulary, dtype: ScalarType.Float64);
        }

        var (head, target) = layer == 0 ? (0, Previous) : (Size, Output);
        v[head..(head + Vocabulary), ..Vocabulary] = eye(Vocabulary, dtype: ScalarType.Float64);
        o[target..(target + Vocabulary), head..(head + Vocabulary)] = eye(Vocabulary, dtype: ScalarType.Float64);
        if (_variant == InductionVariant.Shifted)
        {
            Shift(q, k, inert: layer == 0 ? 1 : 0);
        }
    }

    /// <summary>Queries that are right after the shift only; and a head that adds nothing looks anywhere, by chance at what is copied
    /// too.</summary>
    private static void Shift(Tensor q, Tensor k, int inert)
    {
        foreach (var weight in new[] { q, k })
        {
            using var noise = randn([Size, Width], ScalarType.Float64);
            weight.narrow(0, inert * Size, Size).copy_(noise);
        }

        var byHead = q.reshape(Heads, Size, Width);
        using var shifted = cat([byHead.narrow(1, 1, Size - 1), byHead.narrow(1, 0, 1)], 1).reshape(Width, Width);
        q.copy_(shifted);
    }

    private MultiheadAttention Native(int layer)
    {
        var module = nn.MultiheadAttention(Width, Heads);
        module.to(float64);
        using var noGrad = no_grad();
        module.get_parameter("in_proj_weight")!.copy_(cat([.. new[] { "q", "k", "v" }.Select(n => _linears[layer][n].weight)], 0));
        module.get_parameter("in_proj_bias")!.copy_(cat([.. new[] { "q", "k", "v" }.Select(n => _linears[layer][n].bias!)], 0));
        module.get_parameter("out_proj.weight")!.copy_(_linears[layer]["o"].weight);
        module.get_parameter("out_proj.bias")!.copy_(_linears[layer]["o"].bias!);
        return module;
    }
}

/// <summary>What <see cref="InductionDecoder"/> does between its projections and its attention.</summary>
internal enum InductionVariant
{
    /// <summary>Nothing.</summary>
    Plain,

    /// <summary>The predecessor is found by rotary positions.</summary>
    Rotary,

    /// <summary>Queries are moved by one place in each head, which no hook on the projections sees; the weights allow for it.</summary>
    Shifted,

    /// <summary>The projections are called with [T, B, D].</summary>
    SequenceFirst,
}
