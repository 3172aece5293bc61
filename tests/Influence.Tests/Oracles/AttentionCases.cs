using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Tests.Oracles;

/// <summary>
/// Decoder blocks with separate q, k, v and o projections: norm, attention, residual connection, head. Token 0 is padding.
/// </summary>
internal static class AttentionCases
{
    private const int Vocabulary = 7;

    /// <summary>As many key and value heads as query heads, and a causal mask.</summary>
    public static TracedModel Causal() => Make("attention causal", width: 4, heads: 2, keyHeads: 2, rotary: false, padded: false);

    /// <summary>Query heads share keys and values in pairs, positions enter by rotation, and padding keys are masked out.</summary>
    public static TracedModel GroupedQuery() =>
        Make("attention grouped-query rotary padded", width: 8, heads: 4, keyHeads: 2, rotary: true, padded: true);

    /// <summary>The layers that are traced.</summary>
    public static bool IsTraced(string parameter) => parameter.Split('.')[0] is "q" or "k" or "v" or "o" or "head";

    private static TracedModel Make(string name, int width, int heads, int keyHeads, bool rotary, bool padded)
    {
        var trace = new LayerTrace();
        var d = width / heads;
        var (tokens, norm) = (nn.Embedding(Vocabulary, width, dtype: float64), nn.LayerNorm(width, dtype: float64));
        var (q, o) = (nn.Linear(width, width, dtype: float64), nn.Linear(width, width, dtype: float64));
        var (k, v) = (nn.Linear(width, keyHeads * d, dtype: float64), nn.Linear(width, keyHeads * d, dtype: float64));
        var head = nn.Linear(width, Vocabulary, hasBias: false, dtype: float64);
        var model = new Composite(Forward, ("tokens", tokens), ("norm", norm), ("q", q), ("k", k), ("v", v), ("o", o), ("head", head));
        return new TracedModel(name, trace, model, Loss, Inputs);

        Tensor Forward(Tensor ids)
        {
            var x = tokens.call(ids); // [B, T, D]
            return trace.Call("head", head, x + Attention(norm.call(x), ids));
        }

        Tensor Attention(Tensor x, Tensor ids)
        {
            var (b, t) = (x.shape[0], x.shape[1]);
            var (queries, keys) = (Split(trace.Call("q", q, x)), Shared(Split(trace.Call("k", k, x))));
            var values = Shared(Split(trace.Call("v", v, x)));
            if (rotary)
            {
                (queries, keys) = (Rotated(queries), Rotated(keys));
            }

            var hidden = ones([t, t], ScalarType.Bool).triu(1).reshape(1, 1, t, t);
            if (padded)
            {
                hidden = hidden.logical_or(ids.eq(0).reshape(b, 1, 1, t));
            }

            var mask = zeros(hidden.shape, x.dtype).masked_fill(hidden, double.NegativeInfinity);
            var weights = ((queries.matmul(keys.transpose(2, 3)) / Math.Sqrt(d)) + mask).softmax(-1);
            return trace.Call("o", o, weights.matmul(values).transpose(1, 2).reshape(b, t, width));

            Tensor Split(Tensor y) => y.reshape(b, t, -1, d).transpose(1, 2); // [B, H, T, d]
        }

        // Each key and value head serves heads / keyHeads query heads that follow each other.
        Tensor Shared(Tensor y) => heads == keyHeads ? y : y.repeat_interleave(heads / keyHeads, 1);

        Tensor Loss(Tensor[] t) => Losses.CrossEntropy(model.call(t[0]), t[1], padded ? t[0].ne(0) : null);

        Tensor[] Inputs(long n)
        {
            var text = randint(1, Vocabulary, [n, 5]);
            if (padded)
            {
                // Lengths 5, 1, 4, 2, 3, ...
                var lengths = (5 - (arange(0, n, 1, ScalarType.Int64) * 4).remainder(5)).unsqueeze(1);
                text = text.masked_fill(arange(0, 5, 1, ScalarType.Int64).unsqueeze(0).ge(lengths), 0);
            }

            return [text, randint(0, Vocabulary, [n, 5])];
        }
    }

    /// <summary>The first half of a head's dimensions against the second, at angles position / 10^k.</summary>
    private static Tensor Rotated(Tensor x)
    {
        var (t, half) = (x.shape[2], x.shape[3] / 2);
        var frequencies = tensor(Enumerable.Range(0, (int)half).Select(k => Math.Pow(10, -k)).ToArray(), dtype: x.dtype);
        var angles = arange(t, dtype: x.dtype).outer(frequencies); // [T, d/2]
        var (first, second) = (x.narrow(3, 0, half), x.narrow(3, half, half));
        return cat([(first * angles.cos()) - (second * angles.sin()), (first * angles.sin()) + (second * angles.cos())], 3);
    }
}
