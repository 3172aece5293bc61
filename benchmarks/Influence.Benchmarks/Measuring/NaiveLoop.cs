using Influence.Benchmarks.Workloads;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Measuring;

/// <summary>
/// What one writes without a library: each example alone through the model, its gradients flattened and kept, one dot
/// product for each pair. Run on a slice and scaled to the whole.
/// </summary>
internal sealed record NaiveLoop(Workload Workload, DeviceClock Clock, int TrainSlice, int QuerySlice)
{
    public static NaiveLoop For(Workload workload, DeviceClock clock) =>
        new(workload, clock, (int)Math.Min(40, workload.TrainCount), (int)Math.Min(10, workload.QueryCount));

    /// <summary>Seconds that all pairs would take.</summary>
    public double Measure()
    {
        using var scope = NewDisposeScope();
        Gradients(Workload.Queries, 2);
        List<Tensor> train = [],
            queries = [];
        var gradients = Clock.Time(() =>
        {
            train = Gradients(Workload.Train, TrainSlice);
            queries = Gradients(Workload.Queries, QuerySlice);
        });
        var dots = Clock.Time(() =>
        {
            foreach (var query in queries)
            {
                foreach (var example in train)
                {
                    using var product = query.dot(example);
                }
            }
        });
        var allGradients = gradients * (Workload.TrainCount + Workload.QueryCount) / (TrainSlice + QuerySlice);
        return allGradients + (dots * Workload.TrainCount * Workload.QueryCount / ((double)TrainSlice * QuerySlice));
    }

    private List<Tensor> Gradients((Tensor X, Tensor Y) data, int count)
    {
        var rows = new List<Tensor>();
        for (var i = 0; i < count; i++)
        {
            using var scope = NewDisposeScope();
            Workload.Loss(data.X.narrow(0, i, 1), data.Y.narrow(0, i, 1)).sum().backward();
            rows.Add(cat([.. Workload.Model.parameters().Select(p => p.grad!.reshape(-1))], 0).MoveToOuterDisposeScope());
            Workload.Model.zero_grad();
        }

        return rows;
    }
}
