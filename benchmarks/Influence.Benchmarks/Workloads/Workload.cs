using Influence.Benchmarks.Floors;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Benchmarks.Workloads;

/// <summary>A model with its data, as a user would hand them to the library, and what a plain training epoch does.</summary>
/// <param name="Key">The name on the command line.</param>
/// <param name="Title">Model and sizes in one line.</param>
/// <param name="Model">In evaluation mode, freshly seeded.</param>
/// <param name="Loss">One loss per example, <c>[B]</c>, from inputs and targets.</param>
/// <param name="MeanLoss">The mean loss of a training step, with the loss function that users take for it.</param>
/// <param name="Train">N training inputs and targets.</param>
/// <param name="Queries">Q query inputs and targets.</param>
/// <param name="BatchSize">Of the plain epoch and of the library alike.</param>
/// <param name="Shape">What a floor is counted from.</param>
/// <param name="Reference">The aim, and what other tools took.</param>
/// <param name="DataNote">Where the data come from.</param>
internal sealed record Workload(
    string Key,
    string Title,
    nn.Module<Tensor, Tensor> Model,
    Func<Tensor, Tensor, Tensor> Loss,
    Func<Tensor, Tensor, Tensor> MeanLoss,
    (Tensor X, Tensor Y) Train,
    (Tensor X, Tensor Y) Queries,
    int BatchSize,
    ModelShape Shape,
    ReferenceRatios Reference,
    string DataNote
) : IDisposable
{
    /// <summary>The task, made anew so that nothing is remembered between calls.</summary>
    public InfluenceTask Task => new(Model) { TrainingLoss = b => Loss(b["x"], b["y"]) };

    public Examples TrainExamples => Examples(Train);

    public Examples QueryExamples => Examples(Queries);

    public long TrainCount => Train.X.shape[0];

    public long QueryCount => Queries.X.shape[0];

    /// <summary>Forward, mean loss, backward and cleared gradients over all training batches; no optimizer step.</summary>
    public void PlainEpoch() =>
        EachBatch(
            (x, y) =>
            {
                MeanLoss(x, y).backward();
                Model.zero_grad();
            }
        );

    /// <summary>The forward pass and the mean loss alone, without a graph.</summary>
    public void ForwardOnly()
    {
        using var noGrad = no_grad();
        EachBatch((x, y) => MeanLoss(x, y));
    }

    public void Dispose()
    {
        foreach (var tensor in new[] { Train.X, Train.Y, Queries.X, Queries.Y })
        {
            tensor.Dispose();
        }

        Model.Dispose();
    }

    private void EachBatch(Action<Tensor, Tensor> step)
    {
        for (long start = 0; start < TrainCount; start += BatchSize)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(BatchSize, TrainCount - start);
            step(Train.X.narrow(0, start, count), Train.Y.narrow(0, start, count));
        }
    }

    private Examples Examples((Tensor X, Tensor Y) data) =>
        Influence.Examples.FromTensors(("x", data.X), ("y", data.Y)) with
        {
            BatchSize = BatchSize,
        };
}
