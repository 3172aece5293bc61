using Influence.Gradients;
using Influence.Numerics;

namespace Influence.Benchmarks.Scaling;

/// <summary>The multiply-adds of a call, from the passes and contractions that it is seen to make.</summary>
internal static class CountedWork
{
    public static double Of(Action call, ScaleShape shape)
    {
        Spans.Tally stages;
        using (var spans = Spans.Watch(() => 0))
        {
            call();
            stages = spans.Root;
        }

        return Of(stages, shape);
    }

    private static double Of(Spans.Tally stage, ScaleShape shape) =>
        stage.Within.Sum(part => Of(part, shape))
        + stage switch
        {
            { Name: "capture forward" } => stage.Examples * shape.Pass,
            { Name: "capture backward" } => stage.Examples * shape.Back,
            { Detail: ContractionSpan contraction } => stage.Examples * OfExample(contraction),
            _ => 0,
        };

    private static double OfExample(ContractionSpan of)
    {
        var (q, t, i, o) = ((double)of.Queries, (double)of.Shape.Positions, of.Shape.Inputs, of.Shape.Outputs);
        return of.Form switch
        {
            ContractionSpan.Norms => t == 1 ? i + o : Math.Min(t * t * (i + o), t * i * o),
            nameof(Contraction.Ghost) => q * t * t * (i + o),
            nameof(Contraction.Factored) => q * t * i * o,
            nameof(Contraction.Dense) => (t + q) * i * o,
            _ => 0,
        };
    }
}
