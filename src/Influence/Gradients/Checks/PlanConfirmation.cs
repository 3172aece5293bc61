using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>
/// Whether a plan that another call's audit made still holds: on a few examples, drawn anew at each call, what the layers give for their
/// sum is held against one plain backward pass, and its rows are checked. It costs two passes over a handful of examples, and as many again
/// over queries that have a measurement of their own; whatever differs means a whole audit.
/// </summary>
internal static class PlanConfirmation
{
    private const int Sample = 4;

    /// <summary>Tries the plan on training examples, and on queries where they have a measurement of their own.</summary>
    /// <param name="hooks">The hooks, which know the plan's layouts.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="train">A batch of training examples.</param>
    /// <param name="queries">A batch of queries.</param>
    /// <param name="elsewhere">Training examples from anywhere in the data, where they can be had.</param>
    /// <param name="seed">Of the draw.</param>
    public static bool Holds(
        LayerHooks hooks,
        CapturePlan plan,
        ExampleBatch train,
        ExampleBatch? queries,
        ExampleBatch? elsewhere,
        long seed
    )
    {
        using var scope = NewDisposeScope();
        try
        {
            return Holds(hooks, plan, Drawn(elsewhere ?? train, seed), LossKind.Training, seed)
                && (
                    queries is null
                    || hooks.Task.Measurement is null
                    || Holds(hooks, plan, Drawn(queries, seed), LossKind.Measurement, seed)
                );
        }
        catch (InfluenceException)
        {
            // What cannot be run is told by the audit, in its words.
            return false;
        }
    }

    private static bool Holds(LayerHooks hooks, CapturePlan plan, ExampleBatch batch, LossKind kind, long seed)
    {
        using var scope = NewDisposeScope();
        return hooks.Run(scope, plan, batch, kind, [], GraphAfter.Kept) is { } trace
            && trace.UsedElsewhere.Count == 0
            && trace.WithOtherRows(batch.Count).Count == 0
            && trace.WithForeignRows(batch, seed).Count == 0
            && Agrees(hooks, plan, trace, batch, kind);
    }

    /// <summary>Whether the sums of what the layers saw are plain autograd's, to the rounding that the audit allows.</summary>
    private static bool Agrees(LayerHooks hooks, CapturePlan plan, CaptureTrace trace, ExampleBatch batch, LossKind kind)
    {
        var plain = new SingleExampleGradients(plan.ByRule, hooks.Losses);
        var gradients = plain.Of(batch, kind);
        var expected = plain
            .Parameters.Zip(gradients)
            .Where(pair => pair.Second is not null)
            .ToDictionary(pair => pair.First.Storage, pair => HalfPrecision.Wide(pair.Second!.detach().reshape(-1)));
        using var noGrad = no_grad();
        var calls = trace.Calls(plan.Layers, mask: null);
        var (errors, sizes) = (new List<Tensor>(), new List<Tensor>());
        foreach (var block in plan.Blocks)
        {
            var sums = block.Gradients(calls)?.Sum();
            for (var p = 0; p < block.Parts.Count; p++)
            {
                var part = block.Parts[p];
                var own = expected.GetValueOrDefault(part.Parameter.Storage) is { } flat ? part.Of(flat) : null;
                var found = sums?[p].reshape(-1);
                if (own is null && found is null)
                {
                    continue;
                }

                if (own is not null && found is not null && own.shape[0] != found.shape[0])
                {
                    return false;
                }

                errors.Add(
                    linalg
                        .vector_norm(
                            own is null ? found!
                            : found is null ? own
                            : found - own
                        )
                        .to_type(ScalarType.Float64)
                        .cpu()
                );
                sizes.Add(linalg.vector_norm(own ?? found!).to_type(ScalarType.Float64).cpu());
            }
        }

        if (errors.Count == 0)
        {
            return true;
        }

        // One question for all: it waits for the device.
        var (error, size) = (stack([.. errors], 0).data<double>().ToArray(), stack([.. sizes], 0).data<double>().ToArray());
        var least = 1e-3 * Math.Sqrt(size.Sum(s => s * s));
        var room = HalfPrecision.Room(hooks.ModelDtype, 1e-2, 1e-6);
        return Enumerable.Range(0, error.Length).All(k => error[k] <= room * Math.Max(size[k], least));
    }

    private static ExampleBatch Drawn(ExampleBatch batch, long seed)
    {
        var drawn = new SortedSet<int>();
        for (var k = 0; drawn.Count < Math.Min(Sample, batch.Count); k++)
        {
            drawn.Add((int)(KeyedRandom.Mix(((ulong)seed << 20) + (ulong)k) % (ulong)batch.Count));
        }

        return batch.Pick([.. drawn]);
    }
}
