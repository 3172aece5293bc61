using System.Diagnostics;
using Influence;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace PretrainedImageClassifier;

/// <summary>
/// AdamW in batches drawn anew each epoch, with a falling rate. The norms stay in evaluation mode: their statistics are the pretrained
/// ones, so that no example of a batch has a part in another's output.
/// </summary>
internal sealed record Trainer
{
    private const int BatchSize = 50;
    private const double LearningRate = 3e-4;

    public required int Epochs { get; init; }

    public required int Seed { get; init; }

    /// <summary>Trains the parameters that are trainable.</summary>
    public void Train(
        nn.Module<Tensor, Tensor> model,
        Tensor images,
        Tensor labels,
        CheckpointRecorder recorder,
        IProgress<InfluenceProgress> progress,
        CancellationToken cancellationToken
    )
    {
        model.eval();
        using var optimizer = optim.AdamW(model.parameters().Where(p => p.requires_grad), LearningRate, weight_decay: 0.01);
        var schedule = optim.lr_scheduler.LinearLR(optimizer, 1, 0.1, Epochs);
        var random = Randomness.For(Seed, "order of the batches");
        var order = Enumerable.Range(0, (int)images.shape[0]).Select(i => (long)i).ToArray();
        var watch = Stopwatch.StartNew();
        for (var epoch = 0; epoch < Epochs; epoch++)
        {
            random.Shuffle(order);
            foreach (var (step, batch) in order.Chunk(BatchSize).Index())
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var index = tensor(batch);
                optimizer.zero_grad();
                F.cross_entropy(model.call(images.index_select(0, index)), labels.index_select(0, index)).backward();
                optimizer.step();
                recorder.Step(model, optimizer);
                progress.Report(
                    new InfluenceProgress(
                        $"training, epoch {epoch + 1} of {Epochs}",
                        ((long)epoch * order.Length) + ((step + 1) * BatchSize),
                        (long)Epochs * order.Length,
                        watch.Elapsed
                    )
                );
            }

            schedule.step();
        }
    }

    /// <summary>A recorder that keeps the weights at the end of the first, the middle and the last epochs: three checkpoints at
    /// most.</summary>
    public CheckpointRecorder Recorder(string folder, int examples) =>
        new(folder) { EverySteps = ((examples + BatchSize - 1) / BatchSize) * Math.Max(1, Epochs / 3) };

    /// <summary>The last stage and the head are trained, or the head alone.</summary>
    public static void Freeze(nn.Module model, bool headOnly)
    {
        foreach (var (name, parameter) in model.named_parameters())
        {
            parameter.requires_grad =
                name.StartsWith("fc.", StringComparison.Ordinal) || (!headOnly && name.StartsWith("layer4.", StringComparison.Ordinal));
        }
    }
}
