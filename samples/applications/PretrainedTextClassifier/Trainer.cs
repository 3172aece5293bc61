using System.Diagnostics;
using Influence;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace PretrainedTextClassifier;

/// <summary>AdamW in batches drawn anew each epoch; the learning rate rises over the first tenth of the steps and falls in a
/// line.</summary>
internal sealed record Trainer
{
    private const double Rise = 0.1;

    public required int Epochs { get; init; }

    public required int Seed { get; init; }

    /// <summary>Of the pretrained weights; corrections of low rank take larger steps.</summary>
    public required double LearningRate { get; init; }

    public int BatchSize { get; init; } = 16;

    /// <summary>Trains the parameters that are trainable.</summary>
    public void Train(
        MailClassifier model,
        MailTensors mails,
        IReadOnlyList<long> chosen,
        CheckpointRecorder? recorder,
        IProgress<InfluenceProgress>? progress,
        CancellationToken cancellationToken
    )
    {
        model.train();
        using var optimizer = optim.AdamW(model.parameters().Where(p => p.requires_grad), LearningRate, weight_decay: 0.01);
        var random = Randomness.For(Seed, "order of the batches");
        var order = chosen.ToArray();
        var stepsPerEpoch = (order.Length + BatchSize - 1) / BatchSize;
        var (step, steps) = (0, stepsPerEpoch * Epochs);
        var watch = Stopwatch.StartNew();
        for (var epoch = 0; epoch < Epochs; epoch++)
        {
            random.Shuffle(order);
            foreach (var batch in order.Chunk(BatchSize))
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                var share = (step + 1.0) / (steps + 1);
                foreach (var group in optimizer.ParamGroups)
                {
                    group.LearningRate = LearningRate * Math.Min(share / Rise, (1 - share) / (1 - Rise));
                }

                var index = tensor(batch);
                var logits = model.call(mails.Ids.index_select(0, index), mails.Mask.index_select(0, index));
                optimizer.zero_grad();
                F.cross_entropy(logits, mails.Labels.index_select(0, index)).backward();
                optimizer.step();
                recorder?.Step(model, optimizer);
                step++;
                progress?.Report(new InfluenceProgress($"training, epoch {epoch + 1} of {Epochs}", step, steps, watch.Elapsed));
            }
        }

        model.eval();
    }

    /// <summary>A recorder that keeps the weights after each epoch.</summary>
    public CheckpointRecorder Recorder(string folder, int examples) => new(folder) { EverySteps = (examples + BatchSize - 1) / BatchSize };
}
