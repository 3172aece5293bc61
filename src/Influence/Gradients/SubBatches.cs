using Influence.Numerics;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>Batches of a size that memory allows, whatever the source gives.</summary>
internal static class SubBatches
{
    /// <summary>Batches so large that the largest block written out takes a quarter of the budget.</summary>
    /// <param name="session">Where they are captured.</param>
    /// <param name="examples">The examples; the first of them are captured once to see the sizes.</param>
    /// <param name="kind">The delegate that they are captured under.</param>
    /// <param name="memoryBudget">Bytes.</param>
    /// <param name="elementSize">Bytes a number when it is written out.</param>
    public static IEnumerable<ExampleBatch> Within(
        GradientSession session,
        Examples examples,
        LossKind kind,
        long memoryBudget,
        int elementSize
    ) => Within(session, examples, kind, new ContractionPlanner(memoryBudget, elementSize).ExamplesAtOnce);

    /// <summary>Batches of a size that follows from one example's gradients.</summary>
    /// <param name="session">Where they are captured.</param>
    /// <param name="examples">The examples; the first of them is captured once.</param>
    /// <param name="kind">The delegate that they are captured under.</param>
    /// <param name="examplesAtOnce">How many examples, from the blocks of one.</param>
    public static IEnumerable<ExampleBatch> Within(
        GradientSession session,
        Examples examples,
        LossKind kind,
        Func<IReadOnlyList<BlockGradients?>, int> examplesAtOnce
    )
    {
        foreach (var first in examples.Batches().Take(1))
        {
            using var scope = NewDisposeScope();
            using var sample = session.Capture(first.Pick([0]), kind);
            return session.Batches(examples, kind, examplesAtOnce(sample.Blocks));
        }

        throw new InfluenceException("There are no examples.");
    }

    /// <summary>The batches, cut where they are larger than the limit.</summary>
    public static IEnumerable<ExampleBatch> Of(Examples examples, int atOnce) => Of(examples, _ => atOnce);

    /// <summary>The batches, cut where they are larger than their limit.</summary>
    public static IEnumerable<ExampleBatch> Of(Examples examples, Func<ExampleBatch, int> atOnce)
    {
        foreach (var batch in Read(examples))
        {
            foreach (var part in Of(batch, atOnce(batch)))
            {
                yield return part;
            }
        }

        static IEnumerable<ExampleBatch> Read(Examples examples)
        {
            using var batches = examples.Batches().GetEnumerator();
            while (Next(batches))
            {
                yield return batches.Current;
            }
        }

        static bool Next(IEnumerator<ExampleBatch> batches)
        {
            using var span = Spans.Of("reading");
            return batches.MoveNext();
        }
    }

    /// <summary>The batch, or parts of it that are no larger than the limit, each valid until the next is asked for.</summary>
    public static IEnumerable<ExampleBatch> Of(ExampleBatch batch, int atOnce)
    {
        if (batch.Count <= atOnce)
        {
            yield return batch;
            yield break;
        }

        for (var start = 0; start < batch.Count; start += atOnce)
        {
            var part = batch.PickApart([.. Enumerable.Range(start, Math.Min(atOnce, batch.Count - start))]);
            try
            {
                yield return part;
            }
            finally
            {
                part.Free();
            }
        }
    }
}
