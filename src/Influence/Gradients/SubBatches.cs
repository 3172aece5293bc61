namespace Influence.Gradients;

/// <summary>Batches of a size that memory allows, whatever the source gives.</summary>
internal static class SubBatches
{
    /// <summary>The batches, cut where they are larger than the limit.</summary>
    public static IEnumerable<ExampleBatch> Of(Examples examples, int atOnce)
    {
        foreach (var batch in examples.Batches())
        {
            if (batch.Count <= atOnce)
            {
                yield return batch;
                continue;
            }

            for (var start = 0; start < batch.Count; start += atOnce)
            {
                var part = Part(batch, start, Math.Min(atOnce, batch.Count - start));
                try
                {
                    yield return part;
                }
                finally
                {
                    foreach (var tensor in part.Tensors)
                    {
                        tensor.Dispose();
                    }
                }
            }
        }

        static ExampleBatch Part(ExampleBatch batch, int start, int count)
        {
            int[] positions = [.. Enumerable.Range(start, count)];
            return new ExampleBatch([.. batch.Names], batch.PickDetached(positions), [.. positions.Select(p => batch.Ids[p])]);
        }
    }
}
