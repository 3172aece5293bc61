namespace Influence.Gradients;

/// <summary>
/// Parameters whose gradients are formed together: a layer's weight with its bias, or a weight that several layers share.
/// </summary>
/// <param name="Parameters">The parameters, in the order of the written-out parts; tied ones once, by their first name.</param>
/// <param name="Uses">The layers that give the gradient, and which of their parameters belong here.</param>
internal sealed record ParameterBlock(
    IReadOnlyList<ModelParameter> Parameters, IReadOnlyList<(TrackedLayer Layer, bool Weight, bool Bias)> Uses)
{
    public string Name => string.Join(", ", Parameters.Select(p => p.Name));

    /// <summary>The block's gradients from what its layers saw; null when the loss does not depend on any of them.</summary>
    public BlockGradients? Gradients(IReadOnlyDictionary<TrackedLayer, List<LayerCall>> calls)
    {
        var uses = Uses
            .Where(use => calls[use.Layer].Count > 0)
            .Select(use => use.Layer.Rule.Gradients(calls[use.Layer], use.Weight, use.Bias))
            .ToList();
        return uses.Count == 0 ? null : Uses.Count == 1 ? uses[0] : new TiedGradients(uses);
    }

    /// <summary>
    /// Groups parameters into blocks. A weight held by one layer goes with that layer's bias; a tied weight is a block of
    /// its own, over every layer that holds it.
    /// </summary>
    public static List<ParameterBlock> Group(IEnumerable<ModelParameter> parameters, IReadOnlyDictionary<object, TrackedLayer> layers)
    {
        var blocks = new List<ParameterBlock>();
        var byStorage = parameters.GroupBy(p => p.Storage).ToList();
        foreach (var tied in byStorage.Where(g => g.Count() > 1))
        {
            blocks.Add(new ParameterBlock([tied.First()], [.. tied.Select(p => (layers[p.Owner], p.LocalName == "weight", p.LocalName == "bias"))]));
        }

        foreach (var own in byStorage.Where(g => g.Count() == 1).Select(g => g.Single()).GroupBy(p => p.Owner, ReferenceEqualityComparer.Instance))
        {
            // Parts are written out weight first.
            var ordered = own.OrderByDescending(p => p.LocalName, StringComparer.Ordinal).ToList();
            blocks.Add(new ParameterBlock(
                ordered, [(layers[own.Key!], ordered.Any(p => p.LocalName == "weight"), ordered.Any(p => p.LocalName == "bias"))]));
        }

        return blocks;
    }
}
