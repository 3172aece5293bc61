using System.Diagnostics;
using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>AdamW on what is not frozen, in batches drawn anew each epoch; the rate rises over the first steps and falls along half a
/// cosine.</summary>
internal sealed record Trainer
{
    private const double WarmUpShare = 0.05;
    private const int BatchSize = 8;

    public required double PeakRate { get; init; }

    public required int Epochs { get; init; }

    public required int Seed { get; init; }

    /// <returns>The mean loss of a byte in nats, for each epoch.</returns>
    public IReadOnlyList<double> Train(
        Gpt2Model model,
        PassageTensors train,
        IProgress<InfluenceProgress>? progress,
        CancellationToken cancellationToken
    )
    {
        model.train();
        using var optimizer = optim.AdamW(
            model.parameters().Where(p => p.requires_grad).DistinctBy(p => p.storage<float>().data_ptr()),
            PeakRate,
            weight_decay: 0.01
        );
        var random = Randomness.For(Seed, "order of the batches");
        var order = Enumerable.Range(0, (int)train.Input.shape[0]).Select(i => (long)i).ToArray();
        var steps = Epochs * ((order.Length + BatchSize - 1) / BatchSize);
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

        model.eval();
        return losses;
    }

    /// <summary>The mean loss of a byte, in nats.</summary>
    public static double Loss(Gpt2Model model, PassageTensors passages)
    {
        using var _ = no_grad();
        using var scope = NewDisposeScope();
        return (
            Losses.CrossEntropy(model.call(passages.Input), passages.Target, passages.Predicted).sum() / passages.Predicted.sum()
        ).item<float>();
    }

    private static double RateAt(double done) =>
        done < WarmUpShare ? done / WarmUpShare : 0.5 * (1 + Math.Cos(Math.PI * (done - WarmUpShare) / (1 - WarmUpShare)));
}
