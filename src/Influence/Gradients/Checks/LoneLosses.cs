using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Whether examples have the loss alone that they have in their batch: where not, the model or the loss mixes them.</summary>
internal static class LoneLosses
{
    /// <summary>How many examples are run alone at most.</summary>
    public const int Most = 64;

    /// <summary>Runs examples alone, by a stride over the batch, and refuses a loss that differs.</summary>
    /// <param name="hooks">The model.</param>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate; labels that are drawn anew tell nothing.</param>
    /// <param name="together">Their losses in the batch.</param>
    /// <param name="count">How many are run.</param>
    /// <exception cref="InfluenceException">A loss differs.</exception>
    public static void Check(LayerHooks hooks, ExampleBatch batch, LossKind kind, double[] together, int count)
    {
        if (kind == LossKind.Sampled)
        {
            return;
        }

        for (var k = 0; k < count; k++)
        {
            using var scope = NewDisposeScope();
            var i = (int)((long)k * batch.Count / count);
            var alone = hooks.LossValues(batch.Pick([i]), kind)[0];
            if (Differ(alone, together[i], hooks.ModelDtype))
            {
                throw new InfluenceException(
                    $"The model mixes the examples of a batch: the example with id {batch.Ids[i]} has "
                        + $"{(kind == LossKind.Training ? "TrainingLoss" : "Measurement")} {alone:G5} alone and {together[i]:G5} in a "
                        + $"batch of {batch.Count}. Per-example gradients then have no meaning. Look for statistics over the batch, or a "
                        + "mean inside the loss."
                )
                {
                    ExampleIds = [batch.Ids[i]],
                };
            }
        }
    }

    /// <summary>Whether two losses of one example differ by more than rounding.</summary>
    public static bool Differ(double value, double expected, ScalarType dtype) =>
        !(
            Math.Abs(value - expected)
            <= HalfPrecision.Room(dtype, 1e-6, 1e-12) + (HalfPrecision.Room(dtype, 2e-3, 2e-3) * Math.Abs(expected))
        );
}
