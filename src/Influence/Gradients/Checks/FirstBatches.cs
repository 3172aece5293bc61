using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What an audit looks at: the first batch of each side, and examples from anywhere where they can be had.</summary>
internal static class FirstBatches
{
    private const int Elsewhere = 32;

    /// <summary>Audits a session on its data.</summary>
    public static CapturePlan Audit(LayerHooks hooks, Examples train, Examples? queries)
    {
        var isRandom = Differs(train) || (queries is not null && Differs(queries));
        var plan = Audit(hooks, train, queries, FromAnywhere(train));
        if (!isRandom)
        {
            return plan;
        }

        const string Note = "the data set gives the same example otherwise each time it is read (random augmentation?): each score is of one draw, and another call gives others";
        Log.RandomData(hooks.Task.Logger, Note);
        return plan with { Coverage = new ParameterCoverage(plan.Coverage.Parameters) { Notes = Note } };
    }

    private static CapturePlan Audit(LayerHooks hooks, Examples train, Examples? queries, ExampleBatch? elsewhere)
    {
        try
        {
            foreach (var batch in train.Batches().Take(1))
            {
                if (queries is null)
                {
                    return CaptureAudit.Run(hooks, batch, null, elsewhere);
                }

                foreach (var query in queries.Batches().Take(1))
                {
                    return CaptureAudit.Run(hooks, batch, query, elsewhere);
                }
            }
        }
        finally
        {
            foreach (var tensor in elsewhere?.Tensors ?? [])
            {
                tensor.Dispose();
            }
        }

        throw new InfluenceException("There are no examples.");
    }

    /// <summary>Some examples behind the first batch, the same at each call; null where the source cannot be asked for them.</summary>
    private static ExampleBatch? FromAnywhere(Examples examples)
    {
        if (!examples.IsIndexable || examples.Count <= examples.BatchSize)
        {
            return null;
        }

        var positions = new SortedSet<int>();
        for (var k = 0UL; k < Elsewhere; k++)
        {
            positions.Add((int)(KeyedRandom.Mix(k) % (ulong)examples.Count));
        }

        return examples.Gather([.. positions]);
    }

    /// <summary>Whether the first batch is another when it is read again.</summary>
    private static bool Differs(Examples examples)
    {
        if (examples.IsIndexable)
        {
            return false;
        }

        using var scope = NewDisposeScope();
        var before = First();
        return before.Zip(First()).Any(pair => !pair.First.shape.AsSpan().SequenceEqual(pair.Second.shape)
            || pair.First.dtype != pair.Second.dtype
            || pair.First.eq(pair.Second).logical_or(pair.First.ne(pair.First).logical_and(pair.Second.ne(pair.Second))).logical_not().any().item<bool>());

        Tensor[] First()
        {
            foreach (var batch in examples.Batches().Take(1))
            {
                return [.. batch.Tensors.Select(t => t.detach().clone())];
            }

            return [];
        }
    }
}
