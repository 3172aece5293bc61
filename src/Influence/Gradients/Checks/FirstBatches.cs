using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What an audit looks at: the first batch of each side, and examples from anywhere where they can be had.</summary>
internal static class FirstBatches
{
    private const int Elsewhere = 32;
    private const int KeptElsewhere = 4;
    private const string RandomData =
        "the data set gives the same example otherwise each time it is read (random augmentation?): each score is of one draw, and "
        + "another call gives others";

    /// <summary>Audits a session on its data, or takes the plan of an earlier call on the same task that still holds.</summary>
    public static Audited Audit(LayerHooks hooks, Examples train, Examples? queries, MemoryBudget memory)
    {
        var isRandom = Differs(train) || (queries is not null && Differs(queries));
        var found = Plan(hooks, train, queries, memory);
        var plan = found.Plan;
        var convolutions = hooks.Layers.Any(layer => layer.Rule is ConvolutionRule)
            ? ConvolutionKernels.Fault(hooks.ModelDtype, hooks.Device.type)
            : null;
        string[] notes = [.. new[] { isRandom ? RandomData : null, convolutions }.OfType<string>()];
        foreach (var note in notes)
        {
            Log.Doubtful(hooks.Task.Logger, note);
        }

        return notes.Length == 0
            ? found
            : found with
            {
                Plan = plan with { Coverage = new ParameterCoverage(plan.Coverage.Parameters) { Notes = string.Join("; ", notes) } },
            };
    }

    private static Audited Plan(LayerHooks hooks, Examples train, Examples? queries, MemoryBudget memory)
    {
        foreach (var batch in train.Batches().Take(1))
        {
            if (queries is null)
            {
                return Plan(hooks, train, batch, null, memory);
            }

            foreach (var query in queries.Batches().Take(1))
            {
                return Plan(hooks, train, batch, query, memory);
            }
        }

        throw new InfluenceException("There are no examples.");
    }

    private static Audited Plan(LayerHooks hooks, Examples train, ExampleBatch batch, ExampleBatch? query, MemoryBudget budget)
    {
        AuditMemory? memory;
        using (Spans.Of("is the plan known"))
        {
            memory = AuditMemory.Of(hooks, batch, query);
        }

        var activations = new ActivationBytes(hooks, budget, memory?.Activations ?? []);
        var seed = memory is null ? 0 : memory.Calls++;
        if (memory?.Restore(hooks) is { } known)
        {
            using var trial = Spans.Of("trial of the plan");
            using var few = new Borrowed(FromAnywhere(train, KeptElsewhere, seed));
            if (PlanConfirmation.Holds(hooks, known, batch, query, few.Batch, seed))
            {
                return new Audited(known, memory, activations);
            }

            memory.Forget();
            foreach (var layer in hooks.Layers)
            {
                layer.Layouts.Clear();
                layer.SharedShapes.Clear();
            }
        }

        using var whole = Spans.Of("whole audit");
        using var scope = NewDisposeScope();
        var most = Math.Clamp(activations.ExamplesAtOnce(batch, LossKind.Training), 2, Elsewhere);
        using var elsewhere = new Borrowed(FromAnywhere(train, batch.Count < 2 ? Elsewhere : most, 0));
        var plan = CaptureAudit.Run(
            hooks,
            activations.Fitting(batch, LossKind.Training),
            query is null ? null : activations.Fitting(query, LossKind.Measurement),
            elsewhere.Batch
        );
        memory?.Keep(hooks, plan);
        return new Audited(plan, memory, activations);
    }

    /// <summary>Some examples behind the first batch; null where the source cannot be asked for them.</summary>
    private static ExampleBatch? FromAnywhere(Examples examples, int count, long seed)
    {
        if (!examples.IsIndexable || examples.Count <= examples.BatchSize)
        {
            return null;
        }

        var drawn = Enumerable.Range(0, count).Select(k => (int)(KeyedRandom.Mix(((ulong)seed << 32) + (ulong)k) % (ulong)examples.Count));
        return examples.Gather([.. examples.Count <= count ? Enumerable.Range(0, examples.Count) : new SortedSet<int>(drawn)]);
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
                || !SameNumbers.Are(pair.First, pair.Second)
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

    /// <summary>What an audit found.</summary>
    /// <param name="Plan">What is captured, and how.</param>
    /// <param name="Memory">What is kept for later calls; null where a task cannot be told from another.</param>
    /// <param name="Activations">What examples take.</param>
    internal readonly record struct Audited(CapturePlan Plan, AuditMemory? Memory, ActivationBytes Activations);

    /// <summary>A batch whose tensors go when this is disposed.</summary>
    private sealed class Borrowed(ExampleBatch? batch) : IDisposable
    {
        public ExampleBatch? Batch => batch;

        public void Dispose() => batch?.Free();
    }
}
