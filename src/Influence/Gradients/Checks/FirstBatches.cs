using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What an audit looks at: the first batch of each side, and examples from anywhere where they can be had.</summary>
internal static class FirstBatches
{
    private const int Elsewhere = 32;
    private const string RandomData =
        "the data set gives the same example otherwise each time it is read (random augmentation?): each score is of one draw, and "
        + "another call gives others";

    /// <summary>Audits a session on its data.</summary>
    public static CapturePlan Audit(LayerHooks hooks, Examples train, Examples? queries)
    {
        var isRandom = Differs(train) || (queries is not null && Differs(queries));
        var plan = Audit(hooks, train, queries, FromAnywhere(train));
        var convolutions = hooks.Layers.Any(layer => layer.Rule is ConvolutionRule)
            ? ConvolutionKernels.Fault(hooks.ModelDtype, hooks.Device.type)
            : null;
        string[] notes = [.. new[] { isRandom ? RandomData : null, convolutions }.OfType<string>()];
        foreach (var note in notes)
        {
            Log.Doubtful(hooks.Task.Logger, note);
        }

        return notes.Length == 0
            ? plan
            : plan with
            {
                Coverage = new ParameterCoverage(plan.Coverage.Parameters) { Notes = string.Join("; ", notes) },
            };
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

        var drawn = Enumerable.Range(0, Elsewhere).Select(k => (int)(KeyedRandom.Mix((ulong)k) % (ulong)examples.Count));
        return examples.Gather([.. examples.Count <= Elsewhere ? Enumerable.Range(0, examples.Count) : new SortedSet<int>(drawn)]);
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
        return before
            .Zip(First())
            .Any(pair =>
                !pair.First.shape.AsSpan().SequenceEqual(pair.Second.shape)
                || pair.First.dtype != pair.Second.dtype
                || pair.First.eq(pair.Second)
                    .logical_or(pair.First.ne(pair.First).logical_and(pair.Second.ne(pair.Second)))
                    .logical_not()
                    .any()
                    .item<bool>()
            );

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
