using Influence.Benchmarks.Workloads;
using Influence.Gradients;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Measuring;

/// <summary>Runs the library's own steps one by one, with a clock between them, to see where its time goes.</summary>
internal sealed class PairsInParts(Workload workload, DeviceClock clock)
{
    private const long MemoryBudget = 1L << 30;

    /// <summary>The contraction of each block, as the planner chose it.</summary>
    public string Plan { get; private set; } = string.Empty;

    /// <summary>The parts of all pairs, by name.</summary>
    public IEnumerable<(string Name, double Seconds)> Run()
    {
        var (train, queries) = (workload.TrainExamples, workload.QueryExamples);
        GradientSession? session = null;
        var audit = clock.Time(() => session = GradientSession.Open(workload.Task, train, queries));
        using var opened = session!;
        using var noGrad = no_grad();
        using var kept = NewDisposeScope();
        var planner = new ContractionPlanner(MemoryBudget, sizeof(float));
        QueryGradients? block = null;
        double captureQueries = 0,
            keepQueries = 0,
            captureTrain = 0,
            products = 0;
        foreach (var examples in queries.Batches())
        {
            BatchGradients? captured = null;
            captureQueries += clock.Time(() => captured = opened.Capture(examples, LossKind.Measurement));
            using var batch = captured!;
            keepQueries += clock.Time(() =>
            {
                if (block is null)
                {
                    var plan = planner.Plan(batch.Blocks, batch.Blocks, queries.Count);
                    Plan = Describe(opened, plan);
                    block = new QueryGradients(plan, planner, queries.Count, kept);
                }

                block.Add(batch, withNorms: false);
            });
        }

        keepQueries += clock.Time(block!.Complete);
        using var waiting = new JoinedBatches();
        foreach (var examples in train.Batches())
        {
            BatchGradients? captured = null;
            captureTrain += clock.Time(() => captured = opened.Capture(examples, LossKind.Training));
            using (var batch = captured!)
            {
                var joins = JoinedBatches.Takes(batch);
                products += clock.Time(() =>
                {
                    if (joins)
                    {
                        waiting.Add(batch);
                    }
                    else
                    {
                        block.Dot(batch);
                    }
                });
            }

            if (waiting.Count >= JoinedBatches.Enough)
            {
                products += clock.Time(Join);
            }
        }

        if (waiting.Count > 0)
        {
            products += clock.Time(Join);
        }

        return
        [
            (Part.Audit, audit),
            (Part.CaptureQueries, captureQueries),
            (Part.KeepQueries, keepQueries),
            (Part.CaptureTrain, captureTrain),
            (Part.Products, products),
        ];

        void Join()
        {
            using var joined = waiting.Take();
            block.Dot(joined);
        }
    }

    private static string Describe(GradientSession session, Contraction[] plan) =>
        string.Join(
            ", ",
            session
                .Blocks.Zip(plan, (block, chosen) => (block.Name, chosen))
                .GroupBy(pair => pair.chosen)
                .Select(group =>
                    $"{group.Key}: {(group.Count() > 4 ? $"{group.Count()} blocks" : string.Join("; ", group.Select(p => p.Name)))}"
                )
        );
}

/// <summary>The names of the parts.</summary>
internal static class Part
{
    public const string Audit = "audit on two examples";
    public const string CaptureQueries = "capture of queries";
    public const string KeepQueries = "keeping the queries' gradients";
    public const string CaptureTrain = "capture of training examples";
    public const string Products = "products";
}
