namespace Influence.Recipes;

public sealed partial record AttentionInfluence
{
    /// <summary>The projections of an attention layer that the model computes itself, for <see cref="AttentionInfluence"/>.</summary>
    /// <param name="Query">The query projection: its weight's parameter name, or the path of a module, as for a projection with an adapter
    /// around it. Its outputs are the heads', one after the other.</param>
    /// <param name="Key">The key projection.</param>
    /// <param name="KeyHeads">The number of key heads. With grouped queries there are more query heads; those that share a key head follow
    /// each other.</param>
    public sealed record Projections(string Query, string Key, int KeyHeads)
    {
        /// <summary>The number of key heads.</summary>
        public int KeyHeads { get; } = KeyHeads > 0 ? KeyHeads : throw new InfluenceException($"KeyHeads is positive; found {KeyHeads}.");
    }
}
