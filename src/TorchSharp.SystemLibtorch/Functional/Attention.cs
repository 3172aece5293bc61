namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        public static partial class functional
        {
            /// <summary>
            /// <c>softmax(Q K^T / sqrt(d)) V</c>, composed of plain operators: each has a second derivative, and no
            /// example's gradient depends on the rest of the batch.
            /// </summary>
            /// <param name="query"><c>[..., L, d]</c>.</param>
            /// <param name="key"><c>[..., S, d]</c>.</param>
            /// <param name="value"><c>[..., S, v]</c>.</param>
            /// <param name="attn_mask">True where a position may be attended to, or numbers added to the
            /// logits.</param>
            /// <param name="p">The probability to drop an attention weight.</param>
            /// <param name="is_casual">Whether position i sees positions up to i only. Excludes a mask.</param>
            public static Tensor scaled_dot_product_attention(
                Tensor query,
                Tensor key,
                Tensor value,
                Tensor? attn_mask = null,
                double p = 0.0,
                bool is_casual = false)
            {
                if (p < 0)
                {
                    throw new ArgumentException("The dropout probability must not be negative.", nameof(p));
                }

                if (is_casual && attn_mask is not null)
                {
                    throw new ArgumentException(
                        "Causal attention makes its own mask; pass one or the other.", nameof(attn_mask));
                }

                using var scope = NewDisposeScope();
                var scale = 1 / Math.Sqrt(query.shape[^1]);
                var logits = query.mul(scale).matmul(key.transpose(-2, -1));                    // [..., L, S]
                var mask = is_casual
                    ? ones(logits.shape[^2], logits.shape[^1], dtype: ScalarType.Bool, device: query.device).tril()
                    : attn_mask;
                if (mask is not null)
                {
                    logits = mask.dtype == ScalarType.Bool
                        ? logits.masked_fill(mask.logical_not(), double.NegativeInfinity)
                        : logits.add(mask);
                }

                var weights = softmax(logits, -1);                                              // [..., L, S]
                if (p > 0)
                {
                    weights = dropout(weights, p);
                }

                return weights.matmul(value).MoveToOuterDisposeScope();                         // [..., L, v]
            }
        }
    }
}
