using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Parameters whose gradients are formed together: a layer's weight with its bias, or a weight that several layers share.
/// </summary>
/// <param name="Parts">The parameters or parts of them, in the order of the written-out parts; tied ones once, by their first name.</param>
/// <param name="Uses">The layers that give the gradient, and which of their parameters belong here.</param>
internal sealed record ParameterBlock(IReadOnlyList<ParameterPart> Parts, IReadOnlyList<(TrackedLayer Layer, bool Weight, bool Bias)> Uses)
{
    public string Name => string.Join(", ", Parts.Select(p => p.Name));

    /// <summary>The block's gradients from what its layers saw; null when the loss does not depend on any of them.</summary>
    public BlockGradients? Gradients(IReadOnlyDictionary<TrackedLayer, List<LayerCall>> calls)
    {
        var uses = Uses.Where(use => calls[use.Layer].Count > 0)
            .Select(use => use.Layer.Rule.Gradients(calls[use.Layer], use.Weight, use.Bias))
            .ToList();
        return uses.Count == 0 ? null
            : Uses.Count == 1 ? uses[0]
            : new TiedGradients(uses);
    }

    /// <summary>The block's gradients where what its layers saw does not give them.</summary>
    /// <param name="examples">B.</param>
    /// <param name="rows">The gradients of a whole parameter, <c>[B, P]</c>.</param>
    public BlockGradients Substitute(long examples, Func<ModelParameter, Tensor> rows)
    {
        Tensor[] parts = [.. Parts.Select(part => rows(part.Parameter).narrow(1, part.Start, part.Count))];
        if (Uses.Count > 1)
        {
            return new DenseGradients(examples, () => [.. parts.Select(part => part.alias())]) { IsSubstitute = true };
        }

        var (layer, weight, bias) = Uses[0];
        return layer.Rule.Substitute(examples, parts, weight, bias, layer.Inputs);
    }

    /// <summary>
    /// Groups parameters into blocks. A weight held by one layer goes with that layer's bias; a tied weight is a block of
    /// its own, over every layer that holds it.
    /// </summary>
    /// <param name="parameters">The parameters that are taken by rules.</param>
    /// <param name="layers">The layers, in the order that their blocks get.</param>
    /// <param name="apart">Parameters for which this differs are put into blocks of their own.</param>
    public static List<ParameterBlock> Group(
        IEnumerable<ModelParameter> parameters,
        IEnumerable<TrackedLayer> layers,
        Func<ModelParameter, object> apart
    )
    {
        var included = parameters.ToHashSet();
        var uses = layers
            .SelectMany(layer => layer.Parts.Select(part => (Layer: layer, Part: part)))
            .Where(use => included.Contains(use.Part.Parameter))
            .GroupBy(use => use.Part.Memory)
            .ToList();
        var blocks = new List<ParameterBlock>();
        foreach (var tied in uses.Where(g => g.Count() > 1))
        {
            blocks.Add(
                new ParameterBlock(
                    [tied.First().Part],
                    [.. tied.Select(use => (use.Layer, use.Part == use.Layer.Weight, use.Part == use.Layer.Bias))]
                )
            );
        }

        // Parts are written out weight first, which is how a layer lists them.
        foreach (
            var own in uses.Where(g => g.Count() == 1).Select(g => g.Single()).GroupBy(use => (use.Layer, Apart: apart(use.Part.Parameter)))
        )
        {
            List<ParameterPart> parts = [.. own.Select(use => use.Part)];
            blocks.Add(
                new ParameterBlock(
                    parts,
                    [
                        (
                            own.Key.Layer,
                            own.Key.Layer.Weight is { } weight && parts.Contains(weight),
                            own.Key.Layer.Bias is { } bias && parts.Contains(bias)
                        ),
                    ]
                )
            );
        }

        return blocks;
    }
}
