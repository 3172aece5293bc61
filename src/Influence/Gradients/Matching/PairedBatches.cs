namespace Influence.Gradients;

/// <summary>Two sets of examples side by side, place by place, whatever batches they come in.</summary>
internal static class PairedBatches
{
    /// <summary>Batches of the same number of examples of each.</summary>
    /// <param name="session">Where they are captured.</param>
    /// <param name="first">N queries.</param>
    /// <param name="second">N training examples.</param>
    /// <param name="atOnce">At most so many at once.</param>
    public static IEnumerable<(ExampleBatch First, ExampleBatch Second)> Of(
        GradientSession session,
        Examples first,
        Examples second,
        int atOnce
    )
    {
        using var left = session.Batches(first, LossKind.Measurement, atOnce).GetEnumerator();
        using var right = session.Batches(second, LossKind.Training, atOnce).GetEnumerator();
        var (leftDone, rightDone) = (0, 0);
        var more = left.MoveNext() && right.MoveNext();
        while (more)
        {
            var count = Math.Min(left.Current.Count - leftDone, right.Current.Count - rightDone);
            var (a, b) = (Part(left.Current, leftDone, count), Part(right.Current, rightDone, count));
            try
            {
                yield return (a, b);
            }
            finally
            {
                Drop(a, left.Current);
                Drop(b, right.Current);
            }

            leftDone += count;
            rightDone += count;
            if (leftDone == left.Current.Count)
            {
                more = left.MoveNext();
                leftDone = 0;
            }

            if (rightDone == right.Current.Count)
            {
                more = right.MoveNext() && more;
                rightDone = 0;
            }
        }
    }

    private static ExampleBatch Part(ExampleBatch batch, int start, int count) =>
        count == batch.Count ? batch : batch.PickApart([.. Enumerable.Range(start, count)]);

    private static void Drop(ExampleBatch part, ExampleBatch whole)
    {
        if (!ReferenceEquals(part, whole))
        {
            part.Free();
        }
    }
}
