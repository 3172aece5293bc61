namespace Influence.Benchmarks.Floors;

/// <summary>One part of a computation and the multiply-adds that it cannot do without.</summary>
internal sealed record FloorPart(string Name, double MultiplyAdds);

/// <summary>
/// The least work that a computation takes, counted from the layers' shapes. Sums, activations and memory traffic are not
/// counted, so that nothing reaches it; how far off it is shows what is worth looking at.
/// </summary>
internal sealed record Floor(string Name, IReadOnlyList<FloorPart> Parts)
{
    public double MultiplyAdds => Parts.Sum(part => part.MultiplyAdds);

    /// <summary>Forward and backward with weight gradients over N examples.</summary>
    public static Floor PlainEpoch(ModelShape shape, long train) =>
        new(
            "plain epoch",
            [
                new FloorPart("forward", train * shape.Forward),
                new FloorPart("backward to layer outputs", train * shape.BackwardToOutputs),
                new FloorPart("weight gradients", train * shape.WeightGradients),
            ]
        );

    /// <summary>The products of Q queries with N training examples, each layer in its cheapest form.</summary>
    public static Floor AllPairs(ModelShape shape, long train, long queries) =>
        new(
            "all pairs",
            [
                new FloorPart("capture of training examples (forward, backward to layer outputs)", train * shape.Capture),
                new FloorPart("capture of queries", queries * shape.Capture),
                .. shape
                    .Layers.GroupBy(layer => layer.Products(queries, train).Form)
                    .Select(form => new FloorPart(
                        $"products, {form.Key}",
                        train * form.Sum(layer => layer.Products(queries, train).MultiplyAdds)
                    )),
                .. Some("products, other parameters", (double)train * queries * shape.OtherGradientElements),
            ]
        );

    /// <summary>The squared gradient norms of N examples.</summary>
    public static Floor SelfInfluence(ModelShape shape, long train) =>
        new(
            "self-influence",
            [
                new FloorPart("capture (forward, backward to layer outputs)", train * shape.Capture),
                new FloorPart("norms", train * (shape.Layers.Sum(layer => layer.Norm) + shape.OtherGradientElements)),
            ]
        );

    /// <summary>A part, unless it is nothing.</summary>
    public static IEnumerable<FloorPart> Some(string name, double multiplyAdds) =>
        multiplyAdds > 0 ? [new FloorPart(name, multiplyAdds)] : [];
}
