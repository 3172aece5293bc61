using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Groups;

/// <summary>
/// Batches that belong to one part of one group each, so that one backward pass sums one part's gradients. Tensors are
/// gathered part by part; what a loader gives is kept until a part has a batch full, or memory is short.
/// </summary>
internal static class GroupBatches
{
    /// <param name="examples">All examples.</param>
    /// <param name="slots">The parts.</param>
    /// <param name="memoryBudget">Bytes of examples that may wait.</param>
    /// <returns>Batches with the part that they belong to. A batch's tensors are valid until the next is asked for.</returns>
    public static IEnumerable<(int Slot, ExampleBatch Batch)> Of(Examples examples, IReadOnlyList<GroupSlot> slots, long memoryBudget) =>
        examples.IsIndexable ? Gathered(examples, slots) : Collected(examples, slots, memoryBudget);

    private static IEnumerable<(int Slot, ExampleBatch Batch)> Gathered(Examples examples, IReadOnlyList<GroupSlot> slots)
    {
        for (var s = 0; s < slots.Count; s++)
        {
            // Batches of like size: a small last one costs nearly as much as a full one.
            var positions = slots[s].Positions;
            var batches = (positions.Length + examples.BatchSize - 1) / examples.BatchSize;
            for (var b = 0; b < batches; b++)
            {
                var (first, end) = ((int)((long)positions.Length * b / batches), (int)((long)positions.Length * (b + 1) / batches));
                var batch = Gather(examples, positions[first..end]);
                try
                {
                    yield return (s, batch);
                }
                finally
                {
                    batch.Free();
                }
            }
        }
    }

    private static IEnumerable<(int Slot, ExampleBatch Batch)> Collected(
        Examples examples,
        IReadOnlyList<GroupSlot> slots,
        long memoryBudget
    )
    {
        var slotsOf = slots
            .SelectMany((slot, s) => slot.Positions.Select(position => (position, s)))
            .ToLookup(pair => pair.position, pair => pair.s);
        var waiting = new WaitingExamples();
        try
        {
            var (first, size) = (0, 1);
            foreach (var batch in examples.Batches())
            {
                var parts = Enumerable
                    .Range(0, batch.Count)
                    .SelectMany(i => slotsOf[first + i].Select(s => (Slot: s, Position: i)))
                    .ToLookup(pair => pair.Slot, pair => pair.Position);
                (first, size) = (first + batch.Count, Math.Max(size, batch.Count));
                foreach (var part in parts)
                {
                    var key = waiting.Add(part.Key, batch, [.. part]);
                    while (waiting.Next(key, size, memoryBudget) is { } ready)
                    {
                        try
                        {
                            yield return ready;
                        }
                        finally
                        {
                            ready.Batch.Free();
                        }
                    }
                }
            }

            while (waiting.Any() is { } rest)
            {
                try
                {
                    yield return rest;
                }
                finally
                {
                    rest.Batch.Free();
                }
            }
        }
        finally
        {
            waiting.Dispose();
        }
    }

    private static ExampleBatch Gather(Examples examples, int[] positions)
    {
        using var span = Spans.Of("reading", examples: positions.Length);
        var batch = examples.Gather(positions);
        foreach (var tensor in batch.Tensors)
        {
            Spans.Made(tensor);
        }

        return batch;
    }
}
