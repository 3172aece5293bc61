using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Whether examples have the loss alone, or among others, that they have in their batch: where not, the model or the loss mixes
/// them.</summary>
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
    public static void Check(LayerHooks hooks, ExampleBatch batch, LossKind kind, double[] together, int count) =>
        Check(hooks, batch, kind, together, Enumerable.Range(0, count).Select(k => (int)((long)k * batch.Count / count)));

    /// <summary>
    /// Runs the batch in two parts, drawn at random, and refuses a loss that differs. A statistic over some rows, detached or not, is
    /// another one in each part, whichever rows it is of; looking at an example alone shows it only where that example is one of them.
    /// </summary>
    /// <param name="hooks">The model.</param>
    /// <param name="batch">The examples.</param>
    /// <param name="kind">Which delegate.</param>
    /// <param name="together">Their losses in the batch.</param>
    /// <param name="alone">Positions that are run alone too.</param>
    /// <param name="seed">Of the parts.</param>
    /// <exception cref="InfluenceException">A loss differs.</exception>
    public static void CheckParts(
        LayerHooks hooks,
        ExampleBatch batch,
        LossKind kind,
        double[] together,
        IReadOnlyList<int> alone,
        long seed
    )
    {
        if (kind == LossKind.Sampled || batch.Count < 2)
        {
            return;
        }

        using var scope = NewDisposeScope();
        int[] order = [.. Enumerable.Range(0, batch.Count).OrderBy(i => KeyedRandom.Mix(((ulong)seed << 32) + (ulong)i))];
        var half = batch.Count / 2;
        foreach (var part in new[] { order[..half].Order().ToArray(), order[half..].Order().ToArray() })
        {
            var losses = hooks.LossValues(batch.Pick(part), kind);
            var differing = part.Where((i, k) => Differ(losses[k], together[i], hooks.ModelDtype)).ToList();
            if (differing.Count > 0)
            {
                Check(hooks, batch, kind, together, differing.Take(Most));
                throw Mixed(
                    batch,
                    kind,
                    differing[0],
                    losses[Array.IndexOf(part, differing[0])],
                    $"in a part of {part.Length} of the batch",
                    together
                );
            }
        }

        Check(hooks, batch, kind, together, alone);
    }

    private static void Check(LayerHooks hooks, ExampleBatch batch, LossKind kind, double[] together, IEnumerable<int> positions)
    {
        if (kind == LossKind.Sampled)
        {
            return;
        }

        foreach (var i in positions)
        {
            using var scope = NewDisposeScope();
            var alone = hooks.LossValues(batch.Pick([i]), kind)[0];
            if (Differ(alone, together[i], hooks.ModelDtype))
            {
                throw Mixed(batch, kind, i, alone, "alone", together);
            }
        }
    }

    private static InfluenceException Mixed(ExampleBatch batch, LossKind kind, int i, double other, string where, double[] together) =>
        new(
            $"The model mixes the examples of a batch: the example with id {batch.Ids[i]} has "
                + $"{(kind == LossKind.Training ? "TrainingLoss" : "Measurement")} {other:G5} {where} and {together[i]:G5} in a batch of "
                + $"{batch.Count}. Per-example gradients then have no meaning. Look for statistics over the batch, or a mean inside the "
                + "loss."
        )
        {
            ExampleIds = [batch.Ids[i]],
        };

    /// <summary>Whether two losses of one example differ by more than rounding.</summary>
    public static bool Differ(double value, double expected, ScalarType dtype) =>
        !(
            Math.Abs(value - expected)
            <= HalfPrecision.Room(dtype, 1e-6, 1e-12) + (HalfPrecision.Room(dtype, 2e-3, 2e-3) * Math.Abs(expected))
        );
}
