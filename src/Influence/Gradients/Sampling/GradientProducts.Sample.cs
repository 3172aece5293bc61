using Influence.Numerics;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Gradients;

/// <summary>What products of all would take, from some of the examples.</summary>
internal sealed partial class GradientProducts
{
    /// <summary>What <see cref="AddPairs"/> or <see cref="AddSummed"/> would take: the queries that are kept at once, and some training
    /// examples past them.</summary>
    /// <param name="train">N training examples.</param>
    /// <param name="queries">Q queries.</param>
    /// <param name="summed">Whether the queries are one.</param>
    /// <param name="progress">Told after each batch.</param>
    public Spent SampleProducts(Examples train, Examples queries, bool summed, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        using var kept = NewDisposeScope();
        QueryGradients? block = null;
        var (examplesAtOnce, passes, share) = (0, 1.0, 1.0);
        var before = Spent.Of(() =>
        {
            // Before and after a call.
            new UnchangedWeights(session.Task.Model).Check();
            (var plan, var capacity, examplesAtOnce) = Plan(train, queries);
            if (summed)
            {
                using var sum = Sum(queries, examplesAtOnce, progress);
                using var total = sum.Take();
                using var applied = Preconditioned(() => metric.Written(total));
                block = Alone(applied, total, kept);
                return;
            }

            block = new QueryGradients(plan, _planner, Math.Min(capacity, queries.Count), kept, arithmetic);
            foreach (var examples in session.Batches(queries, LossKind.Measurement, (int)Math.Min(capacity, examplesAtOnce)))
            {
                if (block.Count + examples.Count > capacity)
                {
                    break;
                }

                Keep(block, examples, progress);
            }

            block.Complete();
            (passes, share) = (Math.Ceiling(queries.Count / (double)capacity), queries.Count / (double)block.Count);
        });
        using var own = block!;
        IReadOnlyList<long> ids = summed ? [-1] : [.. queries.Ids.Take((int)own.Count)];
        var past = Spent.OfAll(train, part => Stream(1, (_, _, _) => { }, own, part, ids, examplesAtOnce, progress, meet: !summed));
        return (before * share) + (past * passes);
    }

    /// <summary>What <see cref="AddSelf(Tensor, Examples, double, ProgressReporter)"/> would take.</summary>
    /// <param name="train">N training examples.</param>
    /// <param name="progress">Told after each batch.</param>
    public Spent SampleSelf(Examples train, ProgressReporter progress)
    {
        using var noGrad = no_grad();
        return Spent.OfAll(
            train,
            part =>
            {
                using var scope = NewDisposeScope();
                AddSelf(zeros([part.Count], session.Dtype, CPU), part, 1, progress);
            }
        );
    }
}
