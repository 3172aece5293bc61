namespace Influence.Benchmarks.Floors;

/// <summary>
/// The least work of fitting K-FAC and EK-FAC and of scoring with them, counted as <see cref="Floor"/> counts: I' = I + 1 with
/// a bias. Covariances are counted as whole products, T (I'^2 + O^2) an example, inputs that layers share once. What layers
/// do in float64 is counted at the same rate as the rest.
/// </summary>
internal static class CurvatureFloor
{
    /// <summary>A symmetric eigendecomposition with vectors takes about this many n^3.</summary>
    private const double Decomposition = 9;

    /// <summary>One pass for the covariances, and their eigendecompositions.</summary>
    public static Floor KfacFit(ModelShape shape, long train) => new("K-FAC fit", [.. Covariances(shape, train)]);

    /// <summary>The same, and the mean squared gradient along the eigenvectors.</summary>
    public static Floor EkfacFit(ModelShape shape, long train)
    {
        // Factors of one position are small enough to be kept; of many they are captured again.
        var again = shape.Layers.Any(layer => layer.Positions > 1)
            ? [new FloorPart("second capture", train * shape.Capture)]
            : Array.Empty<FloorPart>();
        return new(
            "EK-FAC fit",
            [
                .. Covariances(shape, train),
                .. again,
                new FloorPart("rotations", train * shape.Layers.Sum(layer => layer.RotationToEigenbasis)),
                new FloorPart("eigenvalues", train * (shape.Layers.Sum(layer => layer.PassWithBias) + shape.OtherGradientElements)),
            ]
        );
    }

    /// <summary>
    /// All pairs of Q queries with N training examples. A layer at one position costs Q N O I' exactly; where a tolerance
    /// allows few terms, one of them, Q N (O + I'), is the least.
    /// </summary>
    public static Floor AllPairs(string name, ModelShape shape, long train, long queries, bool exact) =>
        new(
            name,
            [
                new FloorPart("capture of training examples (forward, backward to layer outputs)", train * shape.Capture),
                new FloorPart("capture of queries", queries * shape.Capture),
                new FloorPart(
                    "rotations",
                    shape.Layers.Sum(layer =>
                        layer.Positions > 1
                            ? queries * (layer.PassWithBias + layer.RotationToEigenbasis + layer.GradientRotation)
                            : (train + queries) * layer.RotationToEigenbasis
                    )
                ),
                .. shape
                    .Layers.GroupBy(layer => layer.PreconditionedProducts(queries, exact).Form)
                    .Select(form => new FloorPart(
                        $"products, {form.Key}",
                        train * form.Sum(layer => layer.PreconditionedProducts(queries, exact).MultiplyAdds)
                    )),
                .. Floor.Some("products, other parameters", (double)train * queries * shape.OtherGradientElements),
            ]
        );

    /// <summary>The preconditioned product of N examples with themselves.</summary>
    public static Floor SelfInfluence(ModelShape shape, long train) =>
        new(
            "EK-FAC self-influence",
            [
                new FloorPart("capture (forward, backward to layer outputs)", train * shape.Capture),
                new FloorPart("rotations", train * shape.Layers.Sum(layer => layer.RotationToEigenbasis)),
                new FloorPart("products", train * (shape.Layers.Sum(layer => layer.PassWithBias) + shape.OtherGradientElements)),
            ]
        );

    private static IEnumerable<FloorPart> Covariances(ModelShape shape, long train) =>
        [
            new FloorPart("capture (forward, backward to layer outputs)", train * shape.Capture),
            new FloorPart("covariances", train * shape.Layers.Sum(layer => layer.Covariances)),
            new FloorPart("eigendecompositions", Decomposition * shape.Layers.Sum(layer => layer.Cubes)),
        ];
}
