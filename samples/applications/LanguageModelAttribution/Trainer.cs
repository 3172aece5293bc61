using System.Diagnostics;
using Influence;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace LanguageModelAttribution;

/// <summary>
/// AdamW in batches drawn anew each epoch. The learning rate rises over the first steps and falls along half a cosine to a
/// tenth, not to zero: TracIn weighs a checkpoint by its learning rate.
/// </summary>
internal sealed record Trainer
{
    private const double PeakRate = 2e-3;
    private const double LastShare = 0.1;
    private const double WarmUpShare = 0.05;

    public required int Epochs { get; init; }

    public required int Seed { get; init; }

    public int BatchSize { get; init; } = 8;

    public int Steps(int examples) => Epochs * ((examples + BatchSize - 1) / BatchSize);

    /// <summary>A checkpoint in the middle of training and one at its end; each costs TracIn a pass over the training data.</summary>
    public int StepsPerCheckpoint(int examples) => (Steps(examples) + 1) / 2;

    /// <returns>The mean loss of a byte in nats, for each epoch.</returns>
    public IReadOnlyList<double> Train(
        ByteDecoder model,
        PassageTensors train,
        CheckpointRecorder recorder,
        IProgress<InfluenceProgress>? progress = null,
        CancellationToken cancellationToken = default
    )
    {
        model.train();
        using var optimizer = optim.AdamW(model.parameters(), PeakRate);
        var random = Randomness.For(Seed, "order of the batches");
        var order = Enumerable.Range(0, (int)train.Input.shape[0]).Select(i => (long)i).ToArray();
        var steps = Steps(order.Length);
        var losses = new List<double>();
        var watch = Stopwatch.StartNew();
        for (var (epoch, step) = (0, 0); epoch < Epochs; epoch++)
        {
            random.Shuffle(order);
            var (total, bytes) = (0.0, 0L);
            for (var start = 0; start < order.Length; start += BatchSize)
            {
                cancellationToken.ThrowIfCancellationRequested();
                using var scope = NewDisposeScope();
                optimizer.ParamGroups.First().LearningRate = PeakRate * RateAt((double)step++ / steps);
                var end = Math.Min(start + BatchSize, order.Length);
                var batch = tensor(order[start..end]); // [B]
                var predicted = train.Predicted.index_select(0, batch); // [B, T]
                var loss = Losses
                    .CrossEntropy(model.call(train.Input.index_select(0, batch)), train.Target.index_select(0, batch), predicted)
                    .sum();
                var count = predicted.sum().item<long>();
                optimizer.zero_grad();
                (loss / count).backward();
                optimizer.step();
                recorder.Step(model, optimizer);
                (total, bytes) = (total + loss.item<float>(), bytes + count);
                progress?.Report(
                    new InfluenceProgress(
                        Stage: $"training, epoch {epoch + 1} of {Epochs}",
                        Done: ((long)epoch * order.Length) + end,
                        Total: (long)Epochs * order.Length,
                        watch.Elapsed
                    )
                );
            }

            losses.Add(total / bytes);
        }

        recorder.Save(model, optimizer);
        model.eval();
        return losses;
    }

    private static double RateAt(double done) =>
        done < WarmUpShare
            ? done / WarmUpShare
            : LastShare + ((1 - LastShare) * 0.5 * (1 + Math.Cos(Math.PI * (done - WarmUpShare) / (1 - WarmUpShare))));
}
