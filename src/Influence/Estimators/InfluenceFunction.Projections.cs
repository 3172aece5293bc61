namespace Influence.Estimators;

public sealed partial record InfluenceFunction
{
    /// <summary>
    /// Which rows and columns of an attention layer's projections belong to which head, for <see cref="InfluenceFunction.ScoreHeads"/>.
    /// Where queries, keys and values are the thirds of one weight, as of GPT-2's <c>c_attn</c>, they are called as those of native
    /// attention: <c>new("h.0.attn.c_attn.weight[q]", "h.0.attn.c_attn.weight[k]", "h.0.attn.c_attn.weight[v]", "h.0.attn.c_proj.weight",
    /// Heads: 12)</c>. Of weights that have their inputs in rows (<see cref="Gradients.TransposedLinear"/>) rows and columns have changed
    /// places; that is known from the layer.
    /// </summary>
    /// <param name="Query">The query projection's weight, by its parameter name; its rows are the heads', one after the other.</param>
    /// <param name="Key">The key projection's weight.</param>
    /// <param name="Value">The value projection's weight.</param>
    /// <param name="Output">The output projection's weight; its columns are the heads'.</param>
    /// <param name="Heads">The number of heads. With grouped queries that of the key and value heads: a key head and the query heads that
    /// share it are scored as one.</param>
    public sealed record Projections(string Query, string Key, string Value, string Output, int Heads)
    {
        /// <summary>The number of heads.</summary>
        public int Heads { get; } = Heads > 0 ? Heads : throw new InfluenceException($"Heads is positive; found {Heads}.");
    }
}
