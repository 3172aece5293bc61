using System.Diagnostics;
using Influence;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace MislabelledImages;

/// <summary>
/// Plain stochastic gradient descent, which is what TracIn assumes, in batches drawn anew each epoch; the learning rate
/// falls along half a cosine.
/// </summary>
internal sealed record Trainer
{
    private const int MostCheckpoints = 10;

    public required int Epochs { get; init; }

    public required int Seed { get; init; }

    public int BatchSize { get; init; } = 50;

    public double LearningRate { get; init; } = 0.1;

    /// <summary>A checkpoint at the end of each epoch, or of every second, third, ... where that would be more than ten.</summary>
    public int StepsPerCheckpoint(int examples)
    {
        var stepsPerEpoch = (examples + BatchSize - 1) / BatchSize;
        var epochsPerCheckpoint = (Epochs + MostCheckpoints - 1) / MostCheckpoints;
        return stepsPerEpoch * epochsPerCheckpoint;
    }

    public void Train(
        nn.Module<Tensor, Tensor> model,
        Tensor images,
        Tensor labels,
        CheckpointRecorder recorder,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        model.train();
        using var optimizer = optim.SGD(model.parameters(), LearningRate);
        var schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, Epochs);
        var random = Randomness.For(Seed, "order of the batches");
        var order = Enumerable.Range(0, (int)images.shape[0]).Select(i => (long)i).ToArray();
        var watch = Stopwatch.StartNew();
        for (var epoch = 0; epoch < Epochs; epoch++)
        {
            random.Shuffle(order);
            for (var start = 0; start < order.Length; start += BatchSize)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var end = Math.Min(start + BatchSize, order.Length);
                var batch = tensor(order[start..end]);
                var loss = F.cross_entropy(model.call(images.index_select(0, batch)), labels.index_select(0, batch));
                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
                recorder.Step(model, optimizer);
                progress?.Report(
                    new InfluenceProgress(
                        Stage: $"training, epoch {epoch + 1} of {Epochs}",
                        Done: ((long)epoch * order.Length) + end,
                        Total: (long)Epochs * order.Length,
                        watch.Elapsed
                    )
                );
            }

            schedule.step();
        }

        model.eval();
    }
}
