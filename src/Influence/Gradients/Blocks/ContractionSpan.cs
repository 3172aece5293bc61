using Influence.Numerics;

namespace Influence.Gradients;

/// <summary>What a contraction under way is of, for whoever watches where the time goes.</summary>
/// <param name="Form">Norms, sums, or the form of the products.</param>
/// <param name="Shape">The sizes of the factors.</param>
/// <param name="Queries">Q; 1 where there are none.</param>
internal sealed record ContractionSpan(string Form, FactorShape Shape, long Queries)
{
    public const string Norms = "norms";
    public const string Sums = "sums";
    public const string Overlaps = "overlaps";
    public const string Means = "products with a mean";
    public const string WrittenOut = "written out";

    /// <summary>Begins the span of a contraction.</summary>
    public static Spans.Span Of(string form, BlockGradients block, long queries = 1) =>
        Spans.AreWatched
            ? Spans.Of(
                "contraction",
                block.Shape is { Weight: true } shape ? new ContractionSpan(form, shape, queries) : form,
                block.Examples
            )
            : default;

    public override string ToString() => $"{Form}, T = {Shape.Positions}, {Shape.Inputs} to {Shape.Outputs}";
}
