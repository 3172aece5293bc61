using TorchSharp.Modules;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>The activation of an encoder layer's feed-forward network.</summary>
        public enum Activations
        {
            ReLU = 0,
            GELU = 1,
        }

        /// <summary>Attention of several heads; the width is divisible by their number.</summary>
        public static MultiheadAttention MultiheadAttention(
            long embedded_dim,
            long num_heads,
            double dropout = 0.0,
            bool bias = true,
            bool add_bias_kv = false,
            bool add_zero_attn = false,
            long? kdim = null,
            long? vdim = null)
            => new(embedded_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim ?? embedded_dim, vdim ?? embedded_dim);

        public static TransformerEncoderLayer TransformerEncoderLayer(
            long d_model = 512,
            long nhead = 8,
            long dim_feedforward = 2048,
            double dropout = 0.1,
            Activations activation = Activations.ReLU)
            => new(new EncoderLayerOptions(d_model, nhead, dim_feedforward, dropout, activation));

        /// <summary>So many copies of a layer, one after the other; the layer itself is left as it is.</summary>
        public static TransformerEncoder TransformerEncoder(TransformerEncoderLayer encoder_layer, long num_layers)
            => new(encoder_layer, num_layers);
    }
}
